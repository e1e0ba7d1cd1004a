# The pool model: explorer, simulation, scenarios, unit tests, and the proof that they find faults.
get_filename_component(MTD_MODEL_DIR ${CMAKE_CURRENT_LIST_DIR}/../daemon/supervisor/model ABSOLUTE)
set(MTD_MODEL_TESTS ${CMAKE_CURRENT_LIST_DIR})

add_library(mtd_explorer OBJECT
  ${MTD_MODEL_TESTS}/explore/explorer.cpp
  ${MTD_MODEL_TESTS}/explore/main.cpp
  ${MTD_MODEL_TESTS}/explore/order_walk.cpp
  ${MTD_MODEL_TESTS}/explore/restart.cpp
  ${MTD_MODEL_TESTS}/explore/world.cpp)
target_link_libraries(mtd_explorer PRIVATE mtd_options)
target_compile_options(mtd_explorer PRIVATE -O1)

add_executable(explore_model)
target_link_libraries(explore_model PRIVATE mtd_explorer mtd_model)
# Under the sanitizers a step takes some twenty times as long: the walks are cut short.
if(MTD_SANITIZE)
  add_test(NAME explore_model COMMAND explore_model --most 5000)
else()
  add_test(NAME explore_model COMMAND explore_model)
endif()
set_tests_properties(explore_model PROPERTIES TIMEOUT 600)

add_executable(simulate_model
  ${MTD_MODEL_TESTS}/explore/restart.cpp
  ${MTD_MODEL_TESTS}/explore/world.cpp
  ${MTD_MODEL_TESTS}/simulation/main.cpp
  ${MTD_MODEL_TESTS}/simulation/simulation.cpp)
target_compile_options(simulate_model PRIVATE -O1)
target_link_libraries(simulate_model PRIVATE mtd_model)
if(MTD_SANITIZE)
  add_test(NAME simulate_model COMMAND simulate_model --seeds 50)
else()
  add_test(NAME simulate_model COMMAND simulate_model)
endif()
set_tests_properties(simulate_model PROPERTIES TIMEOUT 600)

add_executable(bench_model ${MTD_MODEL_TESTS}/bench/model_events.cpp)
target_link_libraries(bench_model PRIVATE mtd_model)

add_executable(model_hooks_test ${MTD_MODEL_TESTS}/unit/model_hooks_test.cpp)
target_link_libraries(model_hooks_test PRIVATE mtd_model doctest::doctest)
add_test(NAME model_hooks COMMAND model_hooks_test)

# Each deliberate fault of seeded_fault.h has to be found, in a model built with all of them, of which a run has one.
# The product is never built with the definition. Once, and without sanitizers: what a faulty model does to memory
# proves nothing.
if(NOT MTD_SANITIZE)
set(MTD_SEEDED_FAULTS
  accept_stale_facts spawn_while_stopped planned_counts_as_crash no_wait_for_tree
  stop_without_deadline two_replacements signal_before_spawned deadline_left_behind
  exit_published_twice breaker_ignored thaw_forgotten left_over_survives_timeout deadline_begins_anew
  stop_first pause_ignored half_way_stays
  probe_asked_twice watchdog_not_armed unready_serves recycled_below_floor
  steps_left_out admitted_unmet stopped_while_needed
  busy_worker_ended quiet_time_ignored growth_without_grant
  failed_command_ignored busy_taken_for_idle)
set(MTD_SEEDED_SOURCES)
get_target_property(MTD_MODEL_FILES mtd_model SOURCES)
foreach(file ${MTD_MODEL_FILES})
  list(APPEND MTD_SEEDED_SOURCES ${MTD_MODEL_DIR}/${file})
endforeach()
# One translation unit: an optimiser's work for one model, not for its files.
add_library(mtd_model_seeded STATIC ${MTD_SEEDED_SOURCES})
set_target_properties(mtd_model_seeded PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 0)
target_compile_definitions(mtd_model_seeded PUBLIC MTD_SEEDED_FAULTS)
target_compile_options(mtd_model_seeded PRIVATE -O1)
target_link_libraries(mtd_model_seeded PUBLIC mtd_common)
add_executable(explore_seeded
  ${MTD_MODEL_TESTS}/explore/seeded_number.cpp
  ${MTD_MODEL_TESTS}/explore/seeded_pool.cpp)
target_link_libraries(explore_seeded PRIVATE mtd_explorer mtd_model_seeded)
# Where the walk is known that finds a fault, it is the only one: others would be walked first to their end.
set(walk_accept_stale_facts "stale facts")
set(walk_no_wait_for_tree "stale facts")
set(walk_exit_published_twice "stale facts")
set(walk_two_replacements "reload, restart, overlap")
set(walk_stop_first "reload, restart, overlap")
set(walk_breaker_ignored "ready probe, crash")
set(walk_thaw_forgotten "freeze, thaw, left-overs kept")
set(walk_pause_ignored "reload, two slots at a time, pause")
set(walk_half_way_stays "reload, notify, set-up failures")
set(walk_probe_asked_twice "probes, watchdog, freeze")
set(walk_watchdog_not_armed "probes, watchdog, freeze")
set(walk_unready_serves "probes, watchdog, freeze")
set(walk_recycled_below_floor "memory, tasks, crash, no overlap")
set(walk_steps_left_out "stop in steps")
set(walk_busy_worker_ended "dynamic: busy and idle")
set(walk_quiet_time_ignored "dynamic: busy and idle")
set(walk_growth_without_grant "dynamic: busy and idle")
set(walk_failed_command_ignored "stop by a command")
set(walk_busy_taken_for_idle "idle_timeout, busy and idle")
set(number 0)
foreach(fault ${MTD_SEEDED_FAULTS})
  math(EXPR number "${number} + 1")
  set(words --expect-finding)
  if(DEFINED walk_${fault})
    list(APPEND words --walk ${walk_${fault}})
  endif()
  add_test(NAME explore_seeded_${fault} COMMAND explore_seeded ${words})
  set_tests_properties(explore_seeded_${fault} PROPERTIES ENVIRONMENT MTD_SEEDED_FAULT=${number})
endforeach()
endif()

add_executable(scenario_model ${MTD_MODEL_TESTS}/scenario/model_scenario.cpp)
target_link_libraries(scenario_model PRIVATE mtd_model)
add_test(NAME scenario_model COMMAND scenario_model ${MTD_MODEL_TESTS}/scenario/model)

add_executable(model_values_test ${MTD_MODEL_TESTS}/unit/model_values_test.cpp)
target_link_libraries(model_values_test PRIVATE mtd_model doctest::doctest)
add_test(NAME model_values COMMAND model_values_test)

add_executable(model_pool_test ${MTD_MODEL_TESTS}/unit/model_pool_test.cpp)
target_link_libraries(model_pool_test PRIVATE mtd_model doctest::doctest)
add_test(NAME model_pool COMMAND model_pool_test)

add_executable(model_life_test ${MTD_MODEL_TESTS}/unit/model_life_test.cpp)
target_link_libraries(model_life_test PRIVATE mtd_model doctest::doctest)
add_test(NAME model_life COMMAND model_life_test)

add_executable(model_budget_test ${MTD_MODEL_TESTS}/unit/model_budget_test.cpp)
target_link_libraries(model_budget_test PRIVATE mtd_model doctest::doctest)
add_test(NAME model_budget COMMAND model_budget_test)
