# sequence_layers_portable: the shared library for other systems than the one that builds it, in the folder `portable`. It
# contains the C++ library, so that it needs no newer one than that system has, and no debug information.
add_library(sequence_layers_portable SHARED EXCLUDE_FROM_ALL $<TARGET_OBJECTS:sl_objects>)
target_link_libraries(sequence_layers_portable PRIVATE PkgConfig::HWY Threads::Threads ${CMAKE_DL_LIBS} sl_build_flags)
target_link_options(sequence_layers_portable PRIVATE -static-libstdc++ -Wl,--gc-sections -Wl,--strip-all -Wl,-z,now
                    -Wl,--no-undefined -Wl,--version-script=${SL_VERSION_SCRIPT})
set_target_properties(sequence_layers_portable PROPERTIES
                      OUTPUT_NAME sequence_layers
                      LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/portable
                      VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
                      LINK_DEPENDS ${SL_VERSION_SCRIPT})
