# mtd-worker(7): the page as written, with the reference of io.mtd.Tasks that mtd-man-control prints.
set(MTD_WORKER_PAGE ${PROJECT_BINARY_DIR}/man/mtd-worker.7)
add_custom_command(
  OUTPUT ${MTD_WORKER_PAGE}
  COMMAND ${CMAKE_COMMAND} -DTEMPLATE=${CMAKE_CURRENT_SOURCE_DIR}/mtd-worker.7.in
          -DOUTPUT=${MTD_WORKER_PAGE} -DGENERATOR=$<TARGET_FILE:mtd-man-control> -DSUBJECT=tasks
          -DPROJECT_VERSION=${PROJECT_VERSION} -P ${CMAKE_CURRENT_SOURCE_DIR}/generate/insert_keys.cmake
  DEPENDS mtd-man-control mtd-worker.7.in generate/insert_keys.cmake
  VERBATIM)
add_custom_target(mtd_worker_page ALL DEPENDS ${MTD_WORKER_PAGE})
