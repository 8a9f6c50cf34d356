# What makes a full build faster. Sources must compile without either.

# Most sources include the same headers, whose compilation takes longer than their own. Compilers that
# keep their results do not know compiled headers.
option(SL_PRECOMPILE_HEADERS "Compile common headers once, unless a compiler launcher is set" ON)
# After a change of one source, its whole group is compiled.
option(SL_UNITY_BUILD "Compile small sources in groups" OFF)

# sl_compile_in_groups(TARGET): those of its sources without SKIP_UNITY_BUILD_INCLUSION.
function(sl_compile_in_groups target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${SL_UNITY_BUILD} UNITY_BUILD_BATCH_SIZE 12)
endfunction()

# sl_precompile_headers(TARGET HEADER...): for its sources without SKIP_PRECOMPILE_HEADERS.
function(sl_precompile_headers target)
  if(SL_PRECOMPILE_HEADERS AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    target_precompile_headers(${target} PRIVATE ${ARGN})
  endif()
endfunction()
