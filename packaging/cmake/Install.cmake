# What `cmake --install` installs: the libraries, oneDNN where the system lacks it, the headers, and the files for CMake
# and pkg-config. All of them may be moved together, as paths are relative to the files that hold them.
include(CMakePackageConfigHelpers)
set(SL_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/sequence_layers)

# sl_install_library(<target> <export>)
function(sl_install_library target export)
  install(TARGETS ${target} EXPORT ${export})
  install(EXPORT ${export} NAMESPACE sequence_layers:: DESTINATION ${SL_CMAKE_DIR})
endfunction()

sl_install_library(sequence_layers sequence_layers-targets)
set(SL_HAS_STATIC ON)
if(BUILD_SHARED_LIBS)
  set(SL_HAS_STATIC ${SL_BUILD_STATIC})
  if(SL_BUILD_STATIC)
    sl_install_library(sequence_layers_static sequence_layers-static-targets)
  endif()
endif()
if(OneDNN_IS_BUNDLED)
  install(FILES ${SL_ONEDNN_FILE} DESTINATION ${CMAKE_INSTALL_LIBDIR} RENAME libdnnl.so.3)
endif()
install(DIRECTORY include/sequence_layers DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

# Only the static library leaves it to programs to link Highway, unless it contains Highway.
set(SL_PC_REQUIRES "")
if(SL_HAS_STATIC AND NOT SL_HWY_IS_ARCHIVE)
  set(SL_PC_REQUIRES libhwy)
endif()
configure_package_config_file(packaging/cmake/sequence_layers-config.cmake.in
                              sequence_layers-config.cmake INSTALL_DESTINATION ${SL_CMAKE_DIR})
write_basic_package_version_file(sequence_layers-config-version.cmake
                                 COMPATIBILITY SameMajorVersion)
install(FILES ${PROJECT_BINARY_DIR}/sequence_layers-config.cmake
              ${PROJECT_BINARY_DIR}/sequence_layers-config-version.cmake
        DESTINATION ${SL_CMAKE_DIR})
file(RELATIVE_PATH SL_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" SL_PC_PREFIX "${SL_PC_PREFIX}")
configure_file(packaging/sequence_layers.pc.in sequence_layers.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/sequence_layers.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
