# sl_add_static_library(<name>): the library's objects as one archive. Its only member is one relocatable object: linkers
# take a member of an archive only if something refers to it, and nothing refers to the file of a layer that registers
# itself. All but the C ABI becomes local, as in the shared library, so that it cannot clash with the program's own symbols.
# If Highway is an archive too, the object contains what it needs of it.
function(sl_add_static_library name)
  set(object ${PROJECT_BINARY_DIR}/${name}.o)
  set(list ${PROJECT_BINARY_DIR}/${name}.objects)
  set(highway)
  if(SL_HWY_IS_ARCHIVE)
    set(highway ${HWY_LINK_LIBRARIES})
  endif()
  # A header that clang has precompiled is listed among the objects.
  set(objects $<FILTER:$<TARGET_OBJECTS:sl_objects>,INCLUDE,\\.o$>)
  file(GENERATE OUTPUT ${list} CONTENT "$<JOIN:${objects},\n>\n")
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${CMAKE_LINKER} -r --force-group-allocation -o ${object} @${list} ${highway}
    COMMAND ${CMAKE_OBJCOPY} --wildcard --keep-global-symbol=sl_* ${object}
    DEPENDS sl_objects ${objects}
    VERBATIM)
  add_library(${name} STATIC ${object})
  set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX)
  # The C++ library is named, as a C program links the archive without it.
  target_link_libraries(${name} PRIVATE Threads::Threads ${CMAKE_DL_LIBS} stdc++ m)
  if(NOT SL_HWY_IS_ARCHIVE)
    target_link_libraries(${name} PRIVATE $<BUILD_INTERFACE:PkgConfig::HWY>
                                          $<INSTALL_INTERFACE:sequence_layers::highway>)
  endif()
endfunction()
