# Helpers of the supervision benchmark (tests/bench/run.sh). Never sanitized: they are the yardstick.
add_executable(bench-bare bench/bare.cpp)
target_compile_options(bench-bare PRIVATE -O2 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror)
target_link_options(bench-bare PRIVATE -static)
set_target_properties(bench-bare PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bench)

# A supervisor's costs show best when the worker has none of its own: musl starts in a third of the time.
find_program(MTD_MUSL_GCC musl-gcc)
if(MTD_MUSL_GCC)
  add_custom_command(
    OUTPUT ${PROJECT_BINARY_DIR}/bench/bench-worker
    COMMAND ${CMAKE_COMMAND} -E make_directory ${PROJECT_BINARY_DIR}/bench
    COMMAND ${MTD_MUSL_GCC} -x c++ -fno-exceptions -fno-rtti -static -Os -s -Wall -Wextra
            ${CMAKE_CURRENT_SOURCE_DIR}/bench/worker.cpp -o ${PROJECT_BINARY_DIR}/bench/bench-worker
    DEPENDS bench/worker.cpp
    VERBATIM)
  add_custom_target(bench-worker ALL DEPENDS ${PROJECT_BINARY_DIR}/bench/bench-worker)
else()
  add_executable(bench-worker bench/worker.cpp)
  target_compile_options(bench-worker PRIVATE -Os -Wall -Wextra -Werror)
  target_link_options(bench-worker PRIVATE -static -s)
  set_target_properties(bench-worker PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bench)
endif()

# Of the benchmark of tasks (tests/bench/tasks.sh).
if(NOT MTD_SANITIZE)
  add_executable(bench-tasks
    bench/task_load.cpp
    bench/task_load_bare.cpp
    bench/task_load_mtd.cpp
    bench/task_load_peers.cpp
  )
  add_executable(bench-task-worker bench/task_worker.cpp)
  foreach(program bench-tasks bench-task-worker)
    target_compile_options(${program} PRIVATE -O2)
    target_link_libraries(${program} PRIVATE mtd_client)
    set_target_properties(${program} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bench)
  endforeach()
endif()
