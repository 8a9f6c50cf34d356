# Most sources include the same headers, whose compilation takes longer than their own: those are
# compiled once. Sources must compile without that too, as they do with compilers that keep their
# results: such caches do not know compiled headers.
option(SL_PRECOMPILE_HEADERS "Compile common headers once, unless a compiler launcher is set" ON)

# sl_precompile_headers(TARGET OTHERS HEADER...): compiles the headers for the sources of a target, but
# for the OTHERS, which have other flags or would gain nothing.
function(sl_precompile_headers target others)
  if(NOT SL_PRECOMPILE_HEADERS OR CMAKE_CXX_COMPILER_LAUNCHER OR SL_SANITIZE)
    return()
  endif()
  target_precompile_headers(${target} PRIVATE ${ARGN})
  set_source_files_properties(${others} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
endfunction()
