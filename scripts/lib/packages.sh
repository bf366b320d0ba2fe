# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
# Which Debian packages Culvert needs, and which of them this machine lacks.

# What is the same for whatever architecture the build is for, and the libraries that are of that one.
build_tools=(
    g++ cmake ninja-build pkg-config git
    clang llvm bpftool protobuf-compiler
    doctest-dev
)
build_libraries=(
    libbpf-dev libelf-dev zlib1g-dev
    libssl-dev libnghttp2-dev libyaml-cpp-dev libfmt-dev libmnl-dev prometheus-cpp-dev libprotobuf-dev
)
build_packages=("${build_tools[@]}" "${build_libraries[@]}")
# What the lab, the demo and the tests call, and capture: iptables.
run_packages=(
    iproute2 util-linux procps curl openssl tcpdump jq gunicorn python3-httpbin nginx wrk
    iptables ipset python3-h2 python3-pip
    python3-grpcio python3-protobuf python3-cryptography
)
# What scripts/fuzz links with: the run time of libFuzzer and the sanitizers, which Debian keeps apart, for its clang.
fuzz_package() {
    case $(debian_release) in
    12) echo libclang-rt-14-dev ;;
    13) echo libclang-rt-19-dev ;;
    esac
}
# Of those, the ones that would start a service on the machine. We only want their programs.
service_packages=(nginx)
# Programs of the image, beside ours and the libraries that they are linked with: what capture: iptables calls.
image_packages=(iptables ipset)
# What builds and starts an image of arm64 elsewhere, in the Debian root that scripts/image builds in.
cross_packages=(g++-aarch64-linux-gnu python3-minimal qemu-user)
# What judges manifests/kubernetes, in the Debian root that scripts/image builds in.
manifest_packages=(kubectl)
# What scripts/image calls, and scripts/image --dockerfile.
image_maker_packages=(mmdebstrap debian-archive-keyring git python3)
dockerfile_packages=(buildah)

debian_release() {
    local id='' version=''
    if [[ -r /etc/os-release ]]; then
        id=$(. /etc/os-release && printf '%s' "${ID:-}")
        version=$(. /etc/os-release && printf '%s' "${VERSION_ID:-}")
    fi
    [[ $id == debian ]] && printf '%s\n' "$version"
}

# The packages among the arguments that are not installed, one a line.
not_installed() {
    local package status
    local -A installed=()
    while read -r package status; do
        [[ $status == installed ]] && installed[$package]=1
    done < <(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null)
    for package; do
        [[ -n ${installed[$package]:-} ]] || printf '%s\n' "$package"
    done
}

# Whether the headers under this /usr are Boost 1.81 or newer: older ones lack what Asio's coroutines need.
boost_is_new_enough() {
    local header=$1/include/boost/version.hpp version
    [[ -r $header ]] || return 1
    version=$(sed -n 's/^#define BOOST_VERSION \([0-9]*\).*/\1/p' "$header")
    [[ -n $version ]] && ((version >= 108100))
}
