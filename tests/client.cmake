# What clients link and import, against a stand-in for mtd.
find_package(Python3 COMPONENTS Interpreter REQUIRED)
add_executable(client_cpp_test unit/client_cpp.cpp)
target_link_libraries(client_cpp_test PRIVATE mtd_adapter mtd_client doctest::doctest)
add_test(NAME client_cpp COMMAND client_cpp_test)
set_tests_properties(client_cpp PROPERTIES TIMEOUT 120)

# Once, and without sanitizers: Python against the stand-in, and what is built outside against the library. The scripts
# of Pool (unit/client_pool_answers.py, support/cpython_pool_tests.py) are run by integration/test_clients.py against mtd.
if(NOT MTD_SANITIZE)
  add_test(NAME client_python COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/unit/client_python.py)
  set_tests_properties(client_python PROPERTIES TIMEOUT 600)
  add_test(NAME client_examples COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/unit/client_examples.py)
  set_tests_properties(client_examples PROPERTIES ENVIRONMENT "MTD_BUILD=${PROJECT_BINARY_DIR}" TIMEOUT 300)
endif()
