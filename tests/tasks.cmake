# The task plane's model: explorer and the proof that it finds faults.
get_filename_component(MTD_TASK_MODEL_DIR ${CMAKE_CURRENT_LIST_DIR}/../daemon/broker/model ABSOLUTE)
set(MTD_TASK_TESTS ${CMAKE_CURRENT_LIST_DIR})

# The queue in its simulated world, for explorer and simulation.
set(MTD_TASK_RIG
  ${MTD_TASK_TESTS}/explore/task_rig.cpp
  ${MTD_TASK_TESTS}/explore/task_rig_actions.cpp
  ${MTD_TASK_TESTS}/explore/task_rig_canonical.cpp
  ${MTD_TASK_TESTS}/explore/task_rig_choices.cpp
  ${MTD_TASK_TESTS}/explore/task_rig_invariants.cpp
  ${MTD_TASK_TESTS}/explore/task_rig_rest.cpp
  ${MTD_TASK_TESTS}/explore/task_rig_store.cpp)

add_library(mtd_task_explorer OBJECT
  ${MTD_TASK_TESTS}/explore/task_explorer.cpp
  ${MTD_TASK_RIG})
target_link_libraries(mtd_task_explorer PRIVATE mtd_options)
target_compile_options(mtd_task_explorer PRIVATE -O1)

add_executable(explore_tasks)
target_link_libraries(explore_tasks PRIVATE mtd_task_explorer mtd_task_model)
# Under the sanitizers a step takes some twenty times as long: the walks are cut short.
if(MTD_SANITIZE)
  add_test(NAME explore_tasks COMMAND explore_tasks --most 2000)
else()
  add_test(NAME explore_tasks COMMAND explore_tasks)
endif()
set_tests_properties(explore_tasks PROPERTIES TIMEOUT 600)

# Each deliberate fault of seeded_fault.h has to be found: see model.cmake.
if(NOT MTD_SANITIZE)
set(MTD_SEEDED_TASK_FAULTS
  late_answer_accepted sent_before_commit accepted_before_commit crashes_not_counted
  stop_counts_as_crash credit_ignored limit_ignored drain_gives_more lost_claim_forgotten
  cancel_of_claim_lost timeout_without_kill stalled_answer_dropped give_back_to_the_end
  expired_while_running retry_before_commit orphan_kept closed_worker_kept
  full_store_stands)
set(MTD_SEEDED_TASK_SOURCES)
get_target_property(MTD_TASK_MODEL_FILES mtd_task_model SOURCES)
foreach(file ${MTD_TASK_MODEL_FILES})
  list(APPEND MTD_SEEDED_TASK_SOURCES ${MTD_TASK_MODEL_DIR}/${file})
endforeach()
add_library(mtd_task_model_seeded STATIC ${MTD_SEEDED_TASK_SOURCES})
set_target_properties(mtd_task_model_seeded PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 0)
target_compile_definitions(mtd_task_model_seeded PUBLIC MTD_SEEDED_FAULTS)
target_compile_options(mtd_task_model_seeded PRIVATE -O1)
target_link_libraries(mtd_task_model_seeded PUBLIC mtd_common)
add_executable(explore_tasks_seeded
  ${MTD_TASK_TESTS}/explore/seeded_number.cpp
  ${MTD_TASK_TESTS}/explore/seeded_tasks.cpp)
target_link_libraries(explore_tasks_seeded PRIVATE mtd_task_explorer mtd_task_model_seeded)
set(walk_late_answer_accepted "drain, late answers")
set(walk_limit_ignored "drain, late answers")
set(walk_drain_gives_more "drain, late answers")
set(walk_cancel_of_claim_lost "cancel, crash")
set(walk_stalled_answer_dropped "no room in the store")
set(walk_expired_while_running "expiry, pause, full queue")
set(walk_orphan_kept "another broker takes over")
set(walk_closed_worker_kept "sockets that are closed")
set(walk_full_store_stands "a store that its tasks have filled")
set(number 0)
foreach(fault ${MTD_SEEDED_TASK_FAULTS})
  math(EXPR number "${number} + 1")
  set(words --expect-finding)
  if(DEFINED walk_${fault})
    list(APPEND words --walk ${walk_${fault}})
  endif()
  add_test(NAME explore_tasks_seeded_${fault} COMMAND explore_tasks_seeded ${words})
  set_tests_properties(explore_tasks_seeded_${fault} PROPERTIES ENVIRONMENT MTD_SEEDED_FAULT=${number})
endforeach()
endif()

# The stores: conformance, faults of the disk.
add_executable(task_store_test
  ${MTD_TASK_TESTS}/support/fault_disk.cpp
  ${MTD_TASK_TESTS}/support/refused_calls.cpp
  ${MTD_TASK_TESTS}/support/store_samples.cpp
  ${MTD_TASK_TESTS}/unit/task_store_test.cpp)
target_compile_options(task_store_test PRIVATE -O1)
target_link_libraries(task_store_test PRIVATE mtd_task_store doctest::doctest)
add_test(NAME task_store COMMAND task_store_test)
set_tests_properties(task_store PROPERTIES TIMEOUT 600)

add_executable(task_model_test ${MTD_TASK_TESTS}/unit/task_model_test.cpp)
target_link_libraries(task_model_test PRIVATE mtd_task_model doctest::doctest)
add_test(NAME task_model COMMAND task_model_test)

add_executable(simulate_tasks
  ${MTD_TASK_RIG}
  ${MTD_TASK_TESTS}/simulation/task_simulation.cpp)
target_compile_options(simulate_tasks PRIVATE -O1)
target_link_libraries(simulate_tasks PRIVATE mtd_task_model)
if(MTD_SANITIZE)
  add_test(NAME simulate_tasks COMMAND simulate_tasks --seeds 25)
else()
  add_test(NAME simulate_tasks COMMAND simulate_tasks)
endif()
set_tests_properties(simulate_tasks PROPERTIES TIMEOUT 600)

add_executable(bench_tasks ${MTD_TASK_TESTS}/bench/task_model_events.cpp)
target_link_libraries(bench_tasks PRIVATE mtd_task_model)
