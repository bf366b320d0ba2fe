# SPDX-License-Identifier: Apache-2.0
# Warnings, sanitizers and the libraries of Debian's packages. Flags live nowhere else.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
find_package(fmt REQUIRED)
find_package(ZLIB REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED COMPONENTS core)
find_package(Protobuf 3.21 REQUIRED)  # the lite run time alone is linked
pkg_check_modules(libbpf REQUIRED IMPORTED_TARGET libbpf>=1.1)
pkg_check_modules(libmnl REQUIRED IMPORTED_TARGET libmnl)
pkg_check_modules(nghttp2 REQUIRED IMPORTED_TARGET libnghttp2>=1.52)
pkg_check_modules(yamlcpp REQUIRED IMPORTED_TARGET yaml-cpp>=0.7)

add_library(culvert_flags INTERFACE)
target_compile_options(culvert_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wno-missing-field-initializers
    $<$<CXX_COMPILER_ID:GNU>:-fno-semantic-interposition>)
target_compile_definitions(culvert_flags INTERFACE _GNU_SOURCE BOOST_ERROR_CODE_HEADER_ONLY BOOST_ASIO_NO_DEPRECATED
    $<$<NOT:$<CONFIG:Debug>>:_FORTIFY_SOURCE=2>)
target_link_libraries(culvert_flags INTERFACE Threads::Threads)

if(CULVERT_SANITIZE)
  target_compile_options(culvert_flags INTERFACE -fsanitize=${CULVERT_SANITIZE} -fno-omit-frame-pointer
      -fno-sanitize-recover=all)
  # The checks left out double the compile time of coroutine files and find nothing that ASan does not.
  if(CULVERT_SANITIZE MATCHES undefined)
    target_compile_options(culvert_flags INTERFACE -fno-sanitize=null,vptr,alignment,object-size,return)
  endif()
  # Clang 14 cannot assemble the halves of a coroutine with what this check puts before each function.
  if(CULVERT_SANITIZE MATCHES undefined)
    target_compile_options(culvert_flags INTERFACE $<$<CXX_COMPILER_ID:Clang>:-fno-sanitize=function>)
  endif()
  # GCC sees uninitialised members inside <regex> and <functional> once a sanitizer has rewritten them.
  target_compile_options(culvert_flags INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  target_link_options(culvert_flags INTERFACE -fsanitize=${CULVERT_SANITIZE})
endif()

# For what is never on the path of a connection's bytes: code stays in memory, too.
add_library(culvert_small INTERFACE)
target_compile_options(culvert_small INTERFACE $<$<NOT:$<CONFIG:Debug>>:-Os>)

# For tests' own files, which nobody measures: they compile in half the time. Components and tools keep theirs.
add_library(culvert_test_flags INTERFACE)
target_compile_options(culvert_test_flags INTERFACE $<$<NOT:$<CONFIG:Debug>>:-O1> -g1)
target_link_libraries(culvert_test_flags INTERFACE culvert_flags)

# Boost is headers only here. Debian 12's own is 1.74, too old: scripts/deps unpacks 1.81 beside the build, where the
# presets look first.
find_package(Boost 1.81 REQUIRED CONFIG)
add_library(culvert_boost INTERFACE)
target_link_libraries(culvert_boost INTERFACE Boost::headers)
