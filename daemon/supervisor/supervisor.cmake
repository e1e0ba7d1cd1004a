# mtd-supervisor: everything but main in a library, so that tests can link it.
add_library(mtd_supervisor_core STATIC
  control_handlers.cpp
  death_text.cpp
  ending.cpp
  errands.cpp
  event_log.cpp
  event_records.cpp
  foreground.cpp
  goals.cpp
  growing.cpp
  handlers_operate.cpp
  handlers_read.cpp
  listeners.cpp
  loader.cpp
  memory_watch.cpp
  notifications.cpp
  options.cpp
  ordering.cpp
  owning.cpp
  pool_actions.cpp
  pool_hooks.cpp
  pool_limits.cpp
  older_specs.cpp
  pool_memory.cpp
  pool_runner.cpp
  persist.cpp
  prober.cpp
  publish.cpp
  reload.cpp
  revision.cpp
  rolling.cpp
  rollout_text.cpp
  run_time_changes.cpp
  selection.cpp
  self_test.cpp
  socket_manifest.cpp
  sleep_log.cpp
  sockets.cpp
  task_facts.cpp
  task_plane.cpp
  task_refusals.cpp
  stage_names.cpp
  startup.cpp
  state_keeping.cpp
  state_records.cpp
  state_store.cpp
  status_json.cpp
  supervisor.cpp
  tree_scanner.cpp
  upgrade_text.cpp
  upgrading.cpp
  watching.cpp
  why_lines.cpp
  worker_text.cpp
  worker_label.cpp
)
mtd_compile_together(mtd_supervisor_core)
target_link_libraries(mtd_supervisor_core
  PUBLIC mtd_common mtd_config mtd_model mtd_sys mtd_keeper_link mtd_loop_reactor mtd_event_ring
         mtd_role
         nlohmann_json::nlohmann_json
  PRIVATE CLI11::CLI11)

add_executable(mtd-supervisor main.cpp)
target_link_libraries(mtd-supervisor PRIVATE mtd_supervisor_core)
# What of the C++ libraries is used is a fraction of what they map: 6.1 MiB became 3.3.
if(NOT MTD_SANITIZE)
  target_link_options(mtd-supervisor PRIVATE -static-libstdc++ -static-libgcc)
endif()
install(TARGETS mtd-supervisor DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/mtd)
