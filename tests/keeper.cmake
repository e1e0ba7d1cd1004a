# The keeper alone: the real mtd, with a test in the supervisor's place.
add_executable(keeper_role ${CMAKE_CURRENT_LIST_DIR}/system/keeper_role.cpp)
add_executable(keeper_worker ${CMAKE_CURRENT_LIST_DIR}/system/keeper_worker.cpp)
# Never with sanitizers: these are executed ten thousand times, traced, and limited.
foreach(program keeper_role keeper_worker)
  target_compile_options(${program} PRIVATE -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror)
  target_link_options(${program} PRIVATE -static)
endforeach()
# The same keeper, whose seconds are tenths: for what happens only after long waits.
add_executable(keeper_quick ${CMAKE_CURRENT_LIST_DIR}/system/keeper_quick_timing.cpp)
target_link_libraries(keeper_quick PRIVATE mtd_keeper_code)
set_target_properties(keeper_quick PROPERTIES POSITION_INDEPENDENT_CODE OFF)
add_library(keeper_harness STATIC ${CMAKE_CURRENT_LIST_DIR}/system/keeper_harness.cpp)
target_link_libraries(keeper_harness PUBLIC mtd_keeper_link)
target_compile_definitions(keeper_harness PUBLIC
  MTD_BINARY="$<TARGET_FILE:mtd>"
  KEEPER_QUICK_BINARY="$<TARGET_FILE:keeper_quick>"
  KEEPER_ROLE_BINARY="$<TARGET_FILE:keeper_role>"
  KEEPER_WORKER_BINARY="$<TARGET_FILE:keeper_worker>")
add_dependencies(keeper_harness mtd keeper_quick keeper_role keeper_worker)

foreach(name keeper_protocol_test keeper_sandbox_test keeper_refusal_test keeper_birth_test keeper_child_test
             keeper_system_test keeper_life_test keeper_stop_test keeper_harm_test keeper_memory_test
             keeper_manager_test keeper_sockets_test)
  add_executable(${name} ${CMAKE_CURRENT_LIST_DIR}/system/${name}.cpp)
  target_link_libraries(${name} PRIVATE keeper_harness doctest::doctest)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 120)
endforeach()

add_executable(keeper_spec_test ${CMAKE_CURRENT_LIST_DIR}/unit/keeper_spec_test.cpp)
target_link_libraries(keeper_spec_test PRIVATE mtd_keeper_link doctest::doctest)
add_test(NAME keeper_spec_test COMMAND keeper_spec_test)

# The table image without a keeper around it.
set(keeper ${PROJECT_SOURCE_DIR}/daemon/keeper)
add_executable(keeper_table_test ${CMAKE_CURRENT_LIST_DIR}/unit/keeper_table_test.cpp
  ${keeper}/table.cpp ${keeper}/table_image.cpp ${keeper}/table_image_read.cpp ${keeper}/version.cpp)
target_link_libraries(keeper_table_test PRIVATE mtd_keeper_link doctest::doctest)
add_test(NAME keeper_table_test COMMAND keeper_table_test)

if(MTD_FUZZ)  # the keeper's reading of requests, without processes
  add_executable(fuzz_keeper_protocol ${CMAKE_CURRENT_LIST_DIR}/fuzz/keeper_protocol.cpp
    ${PROJECT_SOURCE_DIR}/daemon/keeper/session.cpp ${PROJECT_SOURCE_DIR}/daemon/keeper/request.cpp
    ${PROJECT_SOURCE_DIR}/daemon/keeper/deposits.cpp ${PROJECT_SOURCE_DIR}/daemon/keeper/answers.cpp
    ${PROJECT_SOURCE_DIR}/daemon/keeper/table.cpp ${PROJECT_SOURCE_DIR}/daemon/keeper/timing.cpp
    ${keeper}/upgrade.cpp ${keeper}/table_image.cpp ${keeper}/version.cpp)
  target_link_libraries(fuzz_keeper_protocol PRIVATE mtd_options)
  target_compile_options(fuzz_keeper_protocol PRIVATE -fsanitize=fuzzer,address,undefined)
  target_link_options(fuzz_keeper_protocol PRIVATE -fsanitize=fuzzer,address,undefined)
  add_test(NAME fuzz_keeper_protocol COMMAND fuzz_keeper_protocol -runs=10000 -len_control=0 -max_len=4096 -seed=1)
  add_executable(fuzz_keeper_link ${CMAKE_CURRENT_LIST_DIR}/fuzz/keeper_link.cpp
    ${PROJECT_SOURCE_DIR}/daemon/sys/keeper_link.cpp)
  target_link_libraries(fuzz_keeper_link PRIVATE mtd_options)
  target_compile_options(fuzz_keeper_link PRIVATE -fsanitize=fuzzer,address,undefined)
  target_link_options(fuzz_keeper_link PRIVATE -fsanitize=fuzzer,address,undefined)
  add_test(NAME fuzz_keeper_link COMMAND fuzz_keeper_link -runs=10000 -len_control=0 -max_len=4096 -seed=1)
endif()
