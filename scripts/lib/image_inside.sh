#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# scripts/lib/image_inside.sh FILES DEBUG [ARCH]: in a Debian 13 root that has what `scripts/deps --build` installs: builds
# culvertd and culvertctl, lays the files of the image out in FILES, and their debug information in DEBUG. Called by
# scripts/image and by manifests/Dockerfile, so that both are the same image. For another ARCH than the root's the libraries
# are packages of that one (scripts/cmake/ARCH.cmake).
#
# FILES holds culvertd, culvertctl, what capture: iptables calls, the libraries that these are linked with, where they come
# from (dpkg's records, licences), and nothing else: no shell, no package manager. The symbol tables stay in our programs,
# so that perf and backtraces show names; line numbers are in DEBUG.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
root=${here%/scripts}
. "$here/lib/say.sh"
. "$here/lib/build.sh"

files=$1 debug=$2 machine=$(dpkg --print-architecture)
arch=${3:-$machine}
triplet=$(sed 's/amd64/x86_64/; s/arm64/aarch64/' <<<"$arch")-linux-gnu
libraries=/usr/lib/$triplet
declare -A kept=()

# keep FILE...: the same path in the image, with what a link points at in its place.
keep() {
    local file folder
    for file; do
        folder=$(realpath "${file%/*}")
        file=$folder/${file##*/}
        [[ ! ${kept[$file]:-} ]] || continue
        kept[$file]=1
        mkdir -p "$files$folder"
        cp -L --preserve=mode,timestamps "$file" "$files$file"
    done
}

# keep_links LINK...: beside what they point at.
keep_links() {
    local link
    for link; do
        kept[$link]=1
        cp -d --preserve=timestamps "$link" "$files$link"
    done
}

# names_in FILE...: the libraries that these are linked with, and the loader that they ask for.
names_in() { readelf -Wdl "$@" | sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p; s/.*program interpreter: (.*)\]/\1/p' | sort -u; }

# needed_libraries FILE...: what these need, and what that needs in turn. Read, not asked of ldd, which starts the program.
needed_libraries() {
    local name names wanted=("$@")
    local -A found=()
    while ((${#wanted[@]})); do
        mapfile -t names < <(names_in "${wanted[@]}")
        wanted=()
        for name in "${names[@]}"; do
            case $name in
            ld-linux*) continue ;; # once, where programs ask for it
            /*) ;;
            *) name=$libraries/$name ;;
            esac
            [[ ! ${found[$name]:-} ]] || continue
            found[$name]=1
            wanted+=("$name")
        done
    done
    printf '%s\n' "${!found[@]}" | sort
}

lay_out_folders() {
    mkdir -p "$files"/{dev,etc/culvert,proc,root,run,sys,usr/{bin,sbin,lib,lib64},var/lib/dpkg/status.d}
    mkdir -m 1777 "$files/tmp"
    chmod 700 "$files/root"
    ln -s usr/bin usr/sbin usr/lib usr/lib64 "$files/"
    ln -s /run "$files/var/run"
    printf 'root:x:0:0:root:/root:/usr/sbin/nologin\n' >"$files/etc/passwd"
    printf 'root:x:0:\n' >"$files/etc/group"
}

# perf and gdb find the file in DEBUG by the build id.
# split_debug_information BUILT FILE: FILE of the image is BUILT without its line numbers.
split_debug_information() {
    local built=$1 id
    id=$(readelf -n "$built" | sed -nE 's/.*Build ID: ([0-9a-f]+).*/\1/p')
    mkdir -p "$debug/.build-id/${id::2}"
    "$triplet-objcopy" --only-keep-debug "$built" "$debug/.build-id/${id::2}/${id:2}.debug"
    "$triplet-strip" --strip-debug -o "$files$2" "$built"
}

lay_out_programs() {
    local kind family action names=()
    split_debug_information build/release/bin/culvertd /usr/sbin/culvertd
    split_debug_information build/release/bin/culvertctl /usr/bin/culvertctl
    keep /usr/sbin/xtables-{nft,legacy}-multi /usr/sbin/ipset "$libraries"/xtables/*.so
    for kind in nft legacy; do
        for family in ip ip6; do
            for action in '' -save -restore; do names+=("/usr/sbin/${family}tables-$kind$action"); done
        done
    done
    keep_links "${names[@]}"
}

lay_out_libraries() {
    local wanted
    mapfile -t wanted < <(needed_libraries build/release/bin/{culvertd,culvertctl} "${!kept[@]}")
    keep "${wanted[@]}"
}

# What scanners read, and what the licences ask for.
lay_out_origins() {
    local package packages
    keep /usr/lib/os-release /etc/debian_version
    ln -s ../usr/lib/os-release "$files/etc/os-release"
    # Another architecture's are called so; what has none is the root's own.
    mapfile -t packages < <(dpkg -S "${!kept[@]}" | sed -E 's/(,|: ).*//' | sort -u)
    for package in "${packages[@]}"; do
        dpkg -s "$package" >"$files/var/lib/dpkg/status.d/${package%:*}"
        package=${package%:*}
        keep "/usr/share/doc/$package/copyright"
    done
    cp -a /usr/share/common-licenses "$files/usr/share/"
    install -D -m 644 LICENSE "$files/usr/share/doc/culvert/copyright"
    say "${#kept[@]} files of ${#packages[@]} packages: ${packages[*]%:*}"
}

lay_out() {
    rm -rf "$files" "$debug"
    lay_out_folders
    lay_out_programs
    lay_out_libraries
    lay_out_origins
    if [[ ${SOURCE_DATE_EPOCH:-} ]]; then find "$files" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +; fi
}

cd "$root"
umask 022
cross=()
[[ $arch == "$machine" ]] || cross=(--toolchain "$here/cmake/$arch.cmake")
configure_preset release -DBUILD_TESTING=OFF "${cross[@]}"
compile_preset release culvertd culvertctl
lay_out
