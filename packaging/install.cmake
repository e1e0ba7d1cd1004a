# What `cmake --install` puts where. mtd and mtctl are for users; the roles are for mtd only.
foreach(program mtd mtctl)
  if(TARGET ${program})
    install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endforeach()
if(TARGET mtd-supervisor)
  install(TARGETS mtd-supervisor RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/mtd)
endif()

foreach(section 1 5 7 8)
  install(DIRECTORY ${PROJECT_BINARY_DIR}/man/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section}
          FILES_MATCHING PATTERN "*.${section}" PATTERN CMakeFiles EXCLUDE)
endforeach()

set(bindir ${CMAKE_INSTALL_FULL_BINDIR})
configure_file(${PROJECT_SOURCE_DIR}/packaging/mtd.service.in ${PROJECT_BINARY_DIR}/packaging/mtd.service @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/packaging/mtd.service DESTINATION lib/systemd/system)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/config/examples/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples
        USE_SOURCE_PERMISSIONS)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/README.md ${PROJECT_SOURCE_DIR}/NEWS.md
        DESTINATION ${CMAKE_INSTALL_DOCDIR})

# Completions and the JSON Schema are printed by the mtctl that was just built.
if(TARGET mtctl)
  function(install_output_of path)
    string(JOIN " " words ${ARGN})
    install(CODE "
      set(target \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${path}\")
      get_filename_component(directory \"\${target}\" DIRECTORY)
      file(MAKE_DIRECTORY \"\${directory}\")
      execute_process(COMMAND \"$<TARGET_FILE:mtctl>\" ${words} OUTPUT_FILE \"\${target}\" RESULT_VARIABLE result)
      if(NOT result EQUAL 0)
        message(FATAL_ERROR \"mtctl ${words}: \${result}\")
      endif()
      message(STATUS \"Installing: \${target}\")")
  endfunction()
  install_output_of(${CMAKE_INSTALL_DATADIR}/bash-completion/completions/mtctl completion bash)
  install_output_of(${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions/_mtctl completion zsh)
  install_output_of(${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d/mtctl.fish completion fish)
  install_output_of(${CMAKE_INSTALL_DATADIR}/mtd/mtd.schema.json config schema)
endif()
