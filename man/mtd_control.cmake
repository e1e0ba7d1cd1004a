# mtd-control(7): the page as written, with the reference that mtd-man-control prints.
add_executable(mtd-man-control generate/control_reference.cpp)
target_link_libraries(mtd-man-control PRIVATE mtd_varlink)
set(MTD_CONTROL_PAGE ${PROJECT_BINARY_DIR}/man/mtd-control.7)
add_custom_command(
  OUTPUT ${MTD_CONTROL_PAGE}
  COMMAND ${CMAKE_COMMAND} -DTEMPLATE=${CMAKE_CURRENT_SOURCE_DIR}/mtd-control.7.in
          -DOUTPUT=${MTD_CONTROL_PAGE} -DGENERATOR=$<TARGET_FILE:mtd-man-control>
          -DPROJECT_VERSION=${PROJECT_VERSION} -P ${CMAKE_CURRENT_SOURCE_DIR}/generate/insert_keys.cmake
  DEPENDS mtd-man-control mtd-control.7.in generate/insert_keys.cmake
  VERBATIM)
add_custom_target(mtd_control_page ALL DEPENDS ${MTD_CONTROL_PAGE})
