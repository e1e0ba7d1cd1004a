# mtd_sys: the kernel and libsystemd seam of the supervisor.
add_library(mtd_sys STATIC
  clock.cpp
  event_loop.cpp
)
target_link_libraries(mtd_sys PUBLIC mtd_common PRIVATE PkgConfig::SYSTEMD)
