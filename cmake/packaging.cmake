# make install: headers, both libraries, pkg-config file, CMake package (find_package(vattn), target vattn::vattn).
include(CMakePackageConfigHelpers)

set(VATTN_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/vattn)

set_target_properties(vattn_shared PROPERTIES EXPORT_NAME vattn)
set_target_properties(vattn_static PROPERTIES EXPORT_NAME vattn_static)
add_library(vattn::vattn ALIAS vattn_shared)
install(TARGETS vattn_shared vattn_static EXPORT vattn)
install(DIRECTORY include/ TYPE INCLUDE FILES_MATCHING PATTERN "*.h")
install(EXPORT vattn NAMESPACE vattn:: DESTINATION ${VATTN_CMAKE_DIR} FILE vattn-targets.cmake)

# The folder of the package is found relative to the file itself, so the installed tree may be moved.
file(RELATIVE_PATH VATTN_PC_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(cmake/vattn.pc.in vattn.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/vattn.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

configure_package_config_file(cmake/vattn-config.cmake.in vattn-config.cmake INSTALL_DESTINATION ${VATTN_CMAKE_DIR})
write_basic_package_version_file(vattn-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/vattn-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/vattn-config-version.cmake
        DESTINATION ${VATTN_CMAKE_DIR})
