add_executable(broker_test
  unit/broker_clients_test.cpp
  unit/broker_frames_test.cpp
  unit/broker_parts_test.cpp
  unit/two_stores_test.cpp
  system/broker_sockets_test.cpp
)
target_link_libraries(broker_test PRIVATE mtd_broker_core doctest::doctest)
add_test(NAME broker COMMAND broker_test)

if(MTD_FUZZ)
  add_executable(fuzz_task_frames fuzz/task_frames.cpp)
  target_link_libraries(fuzz_task_frames PRIVATE mtd_broker_core -fsanitize=fuzzer)
  add_test(NAME fuzz_task_frames COMMAND fuzz_task_frames -runs=20000 -max_len=4096)
endif()
