# mtd.json(5): the page as written, with the lists of keys that mtd-man-keys prints.
set(MTD_JSON_PAGE ${PROJECT_BINARY_DIR}/man/mtd.json.5)
add_custom_command(
  OUTPUT ${MTD_JSON_PAGE}
  COMMAND ${CMAKE_COMMAND} -DTEMPLATE=${CMAKE_CURRENT_SOURCE_DIR}/mtd.json.5.in -DOUTPUT=${MTD_JSON_PAGE}
          -DGENERATOR=$<TARGET_FILE:mtd-man-keys> -DPROJECT_VERSION=${PROJECT_VERSION}
          -P ${CMAKE_CURRENT_SOURCE_DIR}/generate/insert_keys.cmake
  DEPENDS mtd-man-keys mtd.json.5.in generate/insert_keys.cmake
  VERBATIM)
add_custom_target(mtd_json_page ALL DEPENDS ${MTD_JSON_PAGE})
