# mtd_sys: the kernel and libsystemd seam of the supervisor.
add_library(mtd_sys STATIC
  broker_link.cpp
  cgroup.cpp
  cgroup_files.cpp
  cgroup_left_overs.cpp
  cgroup_limits.cpp
  cgroup_paths.cpp
  connection_probe.cpp
  directory_watch.cpp
  durable_file.cpp
  event_loop.cpp
  helper_process.cpp
  journal_stream.cpp
  listen_socket.cpp
  memory_pressure.cpp
  memfd.cpp
  memory_use.cpp
  notify_socket.cpp
  pids_limit.cpp
  privileges.cpp
  proc.cpp
  proc_scan.cpp
  program_check.cpp
  program_file.cpp
  resource_names.cpp
  role_socket.cpp
  runtime_dir.cpp
  service_unit.cpp
  self_test_run.cpp
  socket_owner.cpp
  task_board.cpp
  task_socket.cpp
  seccomp_filter.cpp
)
mtd_compile_together(mtd_sys)
target_link_libraries(mtd_sys PUBLIC mtd_common mtd_clock PRIVATE mtd_store_sys PkgConfig::SYSTEMD)
if(SECCOMP_FOUND)
  target_link_libraries(mtd_sys PRIVATE PkgConfig::SECCOMP)
  target_compile_definitions(mtd_sys PRIVATE MTD_HAS_SECCOMP)
endif()
