# The keeper alone: the real mtd, with a test in the supervisor's place.
add_executable(keeper_role ${CMAKE_CURRENT_LIST_DIR}/system/keeper_role.cpp)
add_executable(keeper_worker ${CMAKE_CURRENT_LIST_DIR}/system/keeper_worker.cpp)
# Never with sanitizers: these are executed ten thousand times, traced, and limited.
foreach(program keeper_role keeper_worker)
  target_compile_options(${program} PRIVATE -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror)
  target_link_options(${program} PRIVATE -static)
endforeach()
add_library(keeper_harness STATIC ${CMAKE_CURRENT_LIST_DIR}/system/keeper_harness.cpp)
target_link_libraries(keeper_harness PUBLIC mtd_keeper_link)
target_compile_definitions(keeper_harness PUBLIC
  MTD_BINARY="$<TARGET_FILE:mtd>"
  KEEPER_ROLE_BINARY="$<TARGET_FILE:keeper_role>"
  KEEPER_WORKER_BINARY="$<TARGET_FILE:keeper_worker>")
add_dependencies(keeper_harness mtd keeper_role keeper_worker)

foreach(name keeper_protocol_test keeper_child_test keeper_system_test)
  add_executable(${name} ${CMAKE_CURRENT_LIST_DIR}/system/${name}.cpp)
  target_link_libraries(${name} PRIVATE keeper_harness doctest::doctest)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 120)
endforeach()

add_executable(keeper_spec_test ${CMAKE_CURRENT_LIST_DIR}/unit/keeper_spec_test.cpp)
target_link_libraries(keeper_spec_test PRIVATE mtd_keeper_link doctest::doctest)
add_test(NAME keeper_spec_test COMMAND keeper_spec_test)

if(MTD_FUZZ)  # the keeper's reading of requests, without processes
  add_executable(keeper_protocol_fuzz ${CMAKE_CURRENT_LIST_DIR}/fuzz/keeper_protocol.cpp
    ${CMAKE_CURRENT_LIST_DIR}/../daemon/keeper/session.cpp ${CMAKE_CURRENT_LIST_DIR}/../daemon/keeper/table.cpp)
  target_link_libraries(keeper_protocol_fuzz PRIVATE mtd_options)
  target_compile_options(keeper_protocol_fuzz PRIVATE -fsanitize=fuzzer,address,undefined)
  target_link_options(keeper_protocol_fuzz PRIVATE -fsanitize=fuzzer,address,undefined)
  add_test(NAME keeper_protocol_fuzz COMMAND keeper_protocol_fuzz -runs=20000 -max_len=4096 -seed=1)
endif()
