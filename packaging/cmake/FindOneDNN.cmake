# oneDNN of at least the asked major version: a system one first, else the one that packaging/setup.sh unpacks. Defines
# OneDNN::OneDNN, and OneDNN_IS_BUNDLED in the second case.
function(_onednn_major include_dir out)
  set(${out} 0 PARENT_SCOPE)
  set(header ${include_dir}/oneapi/dnnl/dnnl_version.h)
  if(EXISTS ${header})
    file(STRINGS ${header} line REGEX "define DNNL_VERSION_MAJOR")
    string(REGEX MATCH "[0-9]+" major "${line}")
    set(${out} ${major} PARENT_SCOPE)
  endif()
endfunction()

set(_onednn_deps ${CMAKE_CURRENT_LIST_DIR}/../../.deps/onednn)
foreach(prefix IN ITEMS "${OneDNN_ROOT}" /usr /usr/local ${_onednn_deps})
  if(NOT prefix OR OneDNN_LIBRARY)
    continue()
  endif()
  _onednn_major(${prefix}/include major)
  if(major GREATER_EQUAL OneDNN_FIND_VERSION_MAJOR)
    find_library(OneDNN_LIBRARY dnnl PATHS ${prefix}/lib ${prefix}/lib64
                 ${prefix}/lib/${CMAKE_LIBRARY_ARCHITECTURE} NO_DEFAULT_PATH)
    set(OneDNN_INCLUDE_DIR ${prefix}/include CACHE PATH "oneDNN headers")
    set(OneDNN_VERSION ${major})
  endif()
endforeach()

# A library that only this checkout has must be installed with what is built.
cmake_path(ABSOLUTE_PATH _onednn_deps NORMALIZE)
cmake_path(IS_PREFIX _onednn_deps "${OneDNN_LIBRARY}" NORMALIZE OneDNN_IS_BUNDLED)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OneDNN REQUIRED_VARS OneDNN_LIBRARY OneDNN_INCLUDE_DIR
                                  REASON_FAILURE_MESSAGE "run packaging/setup.sh")
if(OneDNN_FOUND AND NOT TARGET OneDNN::OneDNN)
  add_library(OneDNN::OneDNN UNKNOWN IMPORTED)
  set_target_properties(OneDNN::OneDNN PROPERTIES IMPORTED_LOCATION ${OneDNN_LIBRARY}
                        INTERFACE_INCLUDE_DIRECTORIES ${OneDNN_INCLUDE_DIR})
endif()
