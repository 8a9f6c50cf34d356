# oneDNN's headers of the asked major version: a system one first, else the one that packaging/setup.sh unpacks. Defines
# OneDNN::headers, for nothing is linked with oneDNN; OneDNN_LIBRARY, which may be missing; and OneDNN_IS_BUNDLED if that is
# a library that the system's loader would not find.
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
  if(NOT prefix OR OneDNN_INCLUDE_DIR)
    continue()
  endif()
  _onednn_major(${prefix}/include major)
  if(major EQUAL OneDNN_FIND_VERSION_MAJOR)
    find_library(OneDNN_LIBRARY NAMES dnnl libdnnl.so.${major} PATHS ${prefix}/lib ${prefix}/lib64
                 ${prefix}/lib/${CMAKE_LIBRARY_ARCHITECTURE} NO_DEFAULT_PATH)
    set(OneDNN_INCLUDE_DIR ${prefix}/include CACHE PATH "oneDNN headers")
    set(OneDNN_VERSION ${major})
  endif()
endforeach()

set(OneDNN_IS_BUNDLED FALSE)
if(OneDNN_LIBRARY AND NOT OneDNN_LIBRARY MATCHES "^/usr/(local/)?lib")
  set(OneDNN_IS_BUNDLED TRUE)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OneDNN REQUIRED_VARS OneDNN_INCLUDE_DIR
                                  REASON_FAILURE_MESSAGE "run packaging/setup.sh")
if(OneDNN_FOUND AND NOT TARGET OneDNN::headers)
  add_library(OneDNN::headers INTERFACE IMPORTED)
  set_target_properties(OneDNN::headers PROPERTIES
                        INTERFACE_INCLUDE_DIRECTORIES ${OneDNN_INCLUDE_DIR})
endif()
