# The keeper alone: the real mtd, with a test in the supervisor's place.
add_executable(keeper_role ${CMAKE_CURRENT_LIST_DIR}/system/keeper_role.cpp)
add_executable(keeper_worker ${CMAKE_CURRENT_LIST_DIR}/system/keeper_worker.cpp)
foreach(program keeper_role keeper_worker)
  target_link_libraries(${program} PRIVATE mtd_options)
endforeach()
if(NOT MTD_SANITIZE)  # small and static: ten thousand of them are started
  target_link_options(keeper_worker PRIVATE -static)
endif()
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
