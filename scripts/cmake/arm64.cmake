# SPDX-License-Identifier: Apache-2.0
# cmake --toolchain: for arm64, on a Debian of another architecture that has g++-aarch64-linux-gnu and the libraries as
# packages of arm64. Programs that the build itself runs (protoc, clang, bpftool) are the machine's own.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(ENV{PKG_CONFIG_LIBDIR} /usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig)
