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
configure_file(${PROJECT_SOURCE_DIR}/packaging/mtd-user.service.in ${PROJECT_BINARY_DIR}/packaging/mtd-user.service @ONLY)
# Again with the directory that --prefix names, which may be another one.
install(CODE "
  set(bindir \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}\")
  foreach(unit system/mtd.service user/mtd-user.service)
    get_filename_component(name \"\${unit}\" NAME)
    get_filename_component(kind \"\${unit}\" DIRECTORY)
    set(target \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/lib/systemd/\${kind}/mtd.service\")
    configure_file(\"${PROJECT_SOURCE_DIR}/packaging/\${name}.in\" \"\${target}\" @ONLY)
    message(STATUS \"Installing: \${target}\")
  endforeach()")

install(DIRECTORY ${PROJECT_SOURCE_DIR}/config/examples/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples
        USE_SOURCE_PERMISSIONS
        PATTERN __pycache__ EXCLUDE)  # of examples that were run in place
install(FILES ${PROJECT_SOURCE_DIR}/packaging/hardened.conf DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples/systemd)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/README.md ${PROJECT_SOURCE_DIR}/NEWS.md
        DESTINATION ${CMAKE_INSTALL_DOCDIR})

# What the programs that were just built say about themselves.
function(install_output_of path program)
  string(JOIN " " words ${ARGN})
  install(CODE "
    set(target \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${path}\")
    get_filename_component(directory \"\${target}\" DIRECTORY)
    file(MAKE_DIRECTORY \"\${directory}\")
    execute_process(COMMAND \"$<TARGET_FILE:${program}>\" ${words} OUTPUT_FILE \"\${target}\" RESULT_VARIABLE result)
    if(NOT result EQUAL 0)
      message(FATAL_ERROR \"${program} ${words}: \${result}\")
    endif()
    message(STATUS \"Installing: \${target}\")")
endfunction()
install_output_of(${CMAKE_INSTALL_DATADIR}/bash-completion/completions/mtctl mtctl completion bash)
install_output_of(${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions/_mtctl mtctl completion zsh)
install_output_of(${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d/mtctl.fish mtctl completion fish)
install_output_of(${CMAKE_INSTALL_DATADIR}/mtd/mtd.schema.json mtctl config schema)
install_output_of(${CMAKE_INSTALL_DATADIR}/varlink/io.mtd.Manager.varlink mtd-man-control interface)
