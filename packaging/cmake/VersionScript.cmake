# sl_write_version_script(<symbols> <script>): writes the linker's version script for a table with
# lines "name since lifecycle". Each version is a node that extends the previous one; symbols
# without a line stay local. The script is only rewritten if it changes, so that the library is not
# linked again needlessly.
function(sl_write_version_script symbols script)
  file(STRINGS ${symbols} lines REGEX "^[^#]")
  foreach(line ${lines})
    if(NOT line MATCHES "^(sl_[a-z0-9_]+) ([0-9]+\\.[0-9]+) (stable|unstable|deprecated)$")
      message(FATAL_ERROR "${symbols}: not \"name since lifecycle\": ${line}")
    endif()
    list(APPEND versions ${CMAKE_MATCH_2})
    list(APPEND names_${CMAKE_MATCH_2} ${CMAKE_MATCH_1})
  endforeach()
  list(REMOVE_DUPLICATES versions)
  list(SORT versions COMPARE NATURAL)
  set(local "\n  local:\n    *;")
  foreach(version ${versions})
    list(JOIN names_${version} ";\n    " names)
    string(APPEND text "SEQUENCE_LAYERS_${version} {\n  global:\n    ${names};${local}\n}${base};\n")
    set(base " SEQUENCE_LAYERS_${version}")
    set(local "")
  endforeach()
  file(CONFIGURE OUTPUT ${script} CONTENT "${text}" @ONLY)
endfunction()
