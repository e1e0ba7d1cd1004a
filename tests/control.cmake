add_executable(varlink_test
  unit/varlink_frames.cpp
  unit/varlink_json.cpp
  unit/varlink_json_writer.cpp
  unit/varlink_message.cpp
  unit/varlink_methods.cpp
  unit/varlink_signature.cpp
  system/varlink_client.cpp
)
target_link_libraries(varlink_test PRIVATE mtd_varlink doctest::doctest)
add_test(NAME varlink COMMAND varlink_test)

add_executable(control_test
  unit/control_access.cpp
  unit/control_event_ring.cpp
  system/control_clients.cpp
  system/control_requests.cpp
  system/control_streams.cpp
  support/control_fixture.cpp
  support/test_reactor.cpp
)
target_link_libraries(control_test PRIVATE mtd_control mtd_event_ring doctest::doctest)
add_test(NAME control COMMAND control_test)

add_executable(control_many_test
  system/control_many.cpp
  support/control_fixture.cpp
  support/test_reactor.cpp
)
target_link_libraries(control_many_test PRIVATE mtd_control mtd_event_ring doctest::doctest)
add_test(NAME control_many COMMAND control_many_test)

add_executable(control_foreign_test
  system/control_foreign.cpp
  support/control_fixture.cpp
  support/test_reactor.cpp
)
target_compile_definitions(control_foreign_test PRIVATE MTD_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
target_link_libraries(control_foreign_test PRIVATE mtd_control mtd_event_ring doctest::doctest)
add_test(NAME control_foreign COMMAND control_foreign_test)
set_tests_properties(control_foreign PROPERTIES SKIP_RETURN_CODE 77)

if(MTD_FUZZ)
  add_executable(fuzz_varlink_frames fuzz/varlink_frames.cpp)
  target_link_libraries(fuzz_varlink_frames PRIVATE mtd_control -fsanitize=fuzzer)
  add_test(NAME fuzz_varlink_frames COMMAND fuzz_varlink_frames -runs=20000 -max_len=4096)
endif()
