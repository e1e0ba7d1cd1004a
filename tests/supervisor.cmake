# The supervisor's shell: pure parts, and its kernel seam against the real kernel.
add_executable(supervisor_state_test unit/supervisor_state_test.cpp unit/supervisor_main.cpp)
add_executable(supervisor_calls_test unit/supervisor_calls_test.cpp unit/supervisor_main.cpp)
add_executable(sys_supervisor_test unit/sys_supervisor_test.cpp unit/supervisor_main.cpp)
foreach(name supervisor_state supervisor_calls sys_supervisor)
  target_link_libraries(${name}_test PRIVATE mtd_supervisor_core doctest::doctest)
  add_test(NAME ${name} COMMAND ${name}_test)
  set_tests_properties(${name} PROPERTIES TIMEOUT 120)
endforeach()

add_executable(sys_cgroup_test unit/sys_cgroup_test.cpp)
target_link_libraries(sys_cgroup_test PRIVATE mtd_sys doctest::doctest)
add_test(NAME sys_cgroup COMMAND sys_cgroup_test)
set_tests_properties(sys_cgroup PROPERTIES TIMEOUT 120 SKIP_RETURN_CODE 77)
