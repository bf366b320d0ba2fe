# SPDX-License-Identifier: Apache-2.0
# culvert_component(<name> SOURCES ... HEADERS ... USES <components> LIBRARIES <third party>)
# One folder, one static library. USES is the floor table of docs/ARCHITECTURE.md, readable off the build files.
# OFF_PATH, behind the name: never on the path of a connection's bytes, so small rather than fast.
function(culvert_component name)
  cmake_parse_arguments(arg "OFF_PATH" "" "SOURCES;HEADERS;USES;LIBRARIES" ${ARGN})
  add_library(culvert_${name} STATIC ${arg_SOURCES})
  list(TRANSFORM arg_HEADERS PREPEND ${PROJECT_SOURCE_DIR}/include/culvert/${name}/)
  target_sources(culvert_${name} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${arg_HEADERS})
  list(TRANSFORM arg_USES PREPEND culvert_)
  target_link_libraries(culvert_${name} PUBLIC ${arg_USES} culvert_boost PRIVATE culvert_flags ${arg_LIBRARIES})
  # What the program never calls stays out of it.
  target_compile_options(culvert_${name} PRIVATE -ffunction-sections -fdata-sections)
  target_link_options(culvert_${name} INTERFACE -Wl,--gc-sections)
  # Sanitized, six files at a time: headers are read once, and what they make is instrumented once. So what stands in the
  # nameless namespaces of one component needs names of its own.
  if(CULVERT_SANITIZE)
    set_target_properties(culvert_${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 6)
    # It takes what is in there for a header, of which others could see another version.
    target_compile_options(culvert_${name} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
  endif()
  if(arg_OFF_PATH)
    target_link_libraries(culvert_${name} PRIVATE culvert_small)
  endif()
endfunction()
