# What authors of workers and clients need: libmtd with its headers, for CMake and pkg-config, and the Python package;
# and mtd-worker, which mtd and mtctl start.
include(CMakePackageConfigHelpers)

install(TARGETS mtd-worker RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/mtd)

target_include_directories(mtd_shared INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_features(mtd_shared INTERFACE cxx_std_20)
set_target_properties(mtd_shared PROPERTIES EXPORT_NAME mtd)
install(TARGETS mtd_shared EXPORT mtdTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT mtdTargets NAMESPACE mtd:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/mtd)
configure_file(${PROJECT_SOURCE_DIR}/packaging/client/mtdConfig.cmake.in ${PROJECT_BINARY_DIR}/packaging/mtdConfig.cmake
               COPYONLY)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/packaging/mtdConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/packaging/mtdConfig.cmake ${PROJECT_BINARY_DIR}/packaging/mtdConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/mtd)
file(RELATIVE_PATH MTD_PC_TO_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(${PROJECT_SOURCE_DIR}/packaging/client/mtd.pc.in ${PROJECT_BINARY_DIR}/packaging/mtd.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/packaging/mtd.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(FILES ${PROJECT_SOURCE_DIR}/client/cpp/include/mtd/client.h ${PROJECT_SOURCE_DIR}/client/cpp/include/mtd/worker.h
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/mtd)
# In the source tree mtd/result.h includes this one.
install(FILES ${PROJECT_SOURCE_DIR}/common/result.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/mtd)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/client/python/mtd DESTINATION lib/python3/dist-packages
        FILES_MATCHING PATTERN "*.py" PATTERN __pycache__ EXCLUDE)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/client/examples/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples/workers
        USE_SOURCE_PERMISSIONS)
