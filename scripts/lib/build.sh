# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154
# Configuring and building a preset. Expects: $here (scripts/), the repository as working directory.

# A sanitizer build of a coroutine file takes about a gigabyte: on a small machine fewer at once is faster than swapping.
parallel_jobs() {
    local cores memory
    cores=$(nproc)
    memory=$(awk '/^MemAvailable/ {print int($2 / 1048576)}' /proc/meminfo)
    ((memory >= 1)) || memory=1
    echo $((cores < memory ? cores : memory))
}

# configure_preset NAME [cmake's OPTION...]
configure_preset() {
    local launcher
    launcher=$(command -v ccache || true)
    cmake --preset "$1" -DCMAKE_C_COMPILER_LAUNCHER="$launcher" -DCMAKE_CXX_COMPILER_LAUNCHER="$launcher" "${@:2}"
}

compile_preset() {
    local preset=$1
    shift
    NINJA_STATUS="[%f/%t, %es] " cmake --build "build/$preset" --parallel "$(parallel_jobs)" ${1:+--target "$@"}
}

# build_preset NAME [TARGET...]: everything unless targets are named.
build_preset() {
    local preset=$1
    step "packages" "$here/deps" &&
        step "configure $preset" configure_preset "$preset" &&
        step "build $preset" compile_preset "$@"
}

# What a daemon is made of, in one line.
version_line() { "$1" --version | paste -sd'|' | sed 's/|/; /g'; }
