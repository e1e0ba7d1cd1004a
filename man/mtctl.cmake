# mtctl(1), with the lists that mtd-man-ctl makes from the tables of the program.
if(TARGET mtd-man-ctl)
  set(mtctl_page ${CMAKE_CURRENT_BINARY_DIR}/mtctl.1)
  add_custom_command(OUTPUT ${mtctl_page}
    COMMAND mtd-man-ctl ${CMAKE_CURRENT_SOURCE_DIR}/mtctl.1.in > ${mtctl_page}.new
    COMMAND ${CMAKE_COMMAND} -E rename ${mtctl_page}.new ${mtctl_page}
    DEPENDS mtd-man-ctl ${CMAKE_CURRENT_SOURCE_DIR}/mtctl.1.in
    VERBATIM)
  add_custom_target(mtctl_manual ALL DEPENDS ${mtctl_page})
endif()
