# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154
# scripts/image --unit: unit suites, built and run where the image is built, from the same components; what they say is in
# unit.log beside the image. Expects: build.sh, image.sh.

# Those that ask for little more than a C library and sockets: what looks at the kernel, at a process or at programs of the
# machine is for the machine's own build. So are these cases: qemu-user's own memory grows as it translates, and it passes
# no filter of system calls on.
unit_suites=(base state tls telemetry policy grpc xds dns hbone proxy control admin)
not_emulated="flow: with a reader that stalls*,listening: a node without IPv6*"

test_inside() {
    # shellcheck disable=SC2016 # expanded inside
    in_builder bash -e -c '
        jobs=$1 emulator=$2 except=$3 status=0
        shift 3
        cmake -DBUILD_TESTING=ON build/release
        cmake --build build/release --parallel "$jobs" --target "${@/#/unit_}"
        for suite; do
            printf "\nunit_%s\n" "$suite"
            $emulator "build/release/tests/unit/$suite/unit_$suite" ${emulator:+--test-case-exclude="$except"} || status=1
        done
        exit "$status"' - "$(parallel_jobs)" "$(emulator)" "$not_emulated" "${unit_suites[@]}" | tee "$image/unit.log"
}
