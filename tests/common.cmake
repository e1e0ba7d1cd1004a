add_executable(common_test
  unit/common_escape.cpp
  unit/common_exit_status.cpp
  unit/common_flat_json.cpp
  unit/common_glob.cpp
  unit/common_names.cpp
  unit/common_signals.cpp
  unit/common_size.cpp
  unit/common_task_frames.cpp
  unit/common_time.cpp
  unit/common_timestamp.cpp
)
target_link_libraries(common_test PRIVATE mtd_common doctest::doctest)
add_test(NAME common COMMAND common_test)
