add_library(mtd_clock STATIC clock.cpp)
target_link_libraries(mtd_clock PUBLIC mtd_common)

# mtd_store_sys: what the broker's store needs of the kernel.
find_package(Threads REQUIRED)
add_library(mtd_store_sys STATIC
  ballast.cpp
  claim_file.cpp
  durable_directory.cpp
  spool_file.cpp
  thread.cpp
  wake_fd.cpp
)
target_link_libraries(mtd_store_sys PUBLIC mtd_common mtd_clock Threads::Threads)
