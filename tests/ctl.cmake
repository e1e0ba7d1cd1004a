# mtctl: rendering, command line, and the program against a scripted control socket.
find_package(Python3 COMPONENTS Interpreter REQUIRED)
foreach(name ctl_rendering ctl_command_line ctl_migrate)
  add_executable(${name}_test unit/${name}.cpp)
  target_link_libraries(${name}_test PRIVATE mtctl_core doctest::doctest)
  add_test(NAME ${name} COMMAND ${name}_test)
endforeach()

add_test(NAME ctl_program COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/unit/ctl_program.py)
set_tests_properties(ctl_program PROPERTIES ENVIRONMENT "MTCTL=$<TARGET_FILE:mtctl>" TIMEOUT 300)

if(MTD_FUZZ)
  add_executable(fuzz_supervisord_migration fuzz/supervisord_migration.cpp)
  target_compile_options(fuzz_supervisord_migration PRIVATE -fsanitize=fuzzer)
  target_link_options(fuzz_supervisord_migration PRIVATE -fsanitize=fuzzer)
  target_link_libraries(fuzz_supervisord_migration PRIVATE mtctl_core)
  add_test(NAME fuzz_supervisord_migration COMMAND fuzz_supervisord_migration -runs=2000 -max_len=4096)
endif()
