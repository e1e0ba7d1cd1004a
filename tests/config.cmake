add_executable(config_test
  unit/config_encode.cpp
  unit/config_errors.cpp
  unit/config_expand.cpp
  unit/config_files.cpp
  unit/config_listen.cpp
  unit/config_limits.cpp
  unit/config_order.cpp
  unit/config_plan.cpp
  unit/config_pool.cpp
  unit/config_hooks.cpp
  unit/config_probes.cpp
  unit/config_tasks.cpp
  unit/config_scaling.cpp
  unit/config_tools.cpp
)
target_link_libraries(config_test PRIVATE mtd_config nlohmann_json::nlohmann_json doctest::doctest)
add_test(NAME config COMMAND config_test)

find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND)
  add_executable(config_schema_print unit/config_schema_print.cpp)
  target_link_libraries(config_schema_print PRIVATE mtd_config)
  add_test(NAME config_schema
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/unit/config_schema.py
            $<TARGET_FILE:config_schema_print> ${PROJECT_SOURCE_DIR}/config/examples)
  set_tests_properties(config_schema PROPERTIES SKIP_RETURN_CODE 77)
endif()

if(MTD_FUZZ)
  add_executable(fuzz_config_loader fuzz/config_loader.cpp)
  target_compile_options(fuzz_config_loader PRIVATE -fsanitize=fuzzer)
  target_link_options(fuzz_config_loader PRIVATE -fsanitize=fuzzer)
  target_link_libraries(fuzz_config_loader PRIVATE mtd_config)
  add_test(NAME fuzz_config_loader COMMAND fuzz_config_loader -runs=2000 -max_len=4096)
endif()
