# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154
# The steps of scripts/image. Expects: $root (the repository), say.sh, packages.sh, debian_root.sh.

image_suite=trixie
machine=$(dpkg --print-architecture)
inside=/usr/src/culvert # the sources' place in there, the same for everyone: paths in the debug information do not differ

image_for() {
    arch=$1
    image=$root/build/image # all that is made
    [[ $arch == "$machine" ]] || image+=/$arch
    builder=$image/builder # the Debian root that is built in
    files=$image/root      # what the container holds
}
image_for "$machine"

# Asked once, so that everything that is made names the same.
know_commit() {
    commit=$(git -C "$root" describe --always --dirty --abbrev=12 '--exclude=*' 2>/dev/null || echo unknown)
    revision=$(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)
    commit_date=$(git -C "$root" log -1 --format=%ct 2>/dev/null || date +%s)
}
image_version() { awk 'NR == 1 {print $2}' "$image/version"; }

# The build root is made anew when its packages or their source change. For another architecture it is this machine's all the
# same, with a compiler for that one, its libraries, and what starts its programs: nothing of the build is emulated.
builder_packages() {
    printf '%s\n' ccache
    if [[ $arch == "$machine" ]]; then
        printf '%s\n' "${build_packages[@]}" "${image_packages[@]}" "${manifest_packages[@]}" libboost-dev
    else
        printf '%s\n' "${build_tools[@]}" "${cross_packages[@]}"
        printf "%s:$arch\n" "${build_libraries[@]}" "${image_packages[@]}" libboost-dev
    fi
}
builder_key() { { builder_packages && debian_sources "$image_suite"; } | sha256sum | cut -d' ' -f1; }

ensure_builder() {
    local key packages both=$arch
    [[ $arch == "$machine" ]] || both=$machine,$arch
    key=$(builder_key)
    [[ -e $image/builder.key && $(<"$image/builder.key") == "$key" ]] && return
    enough_room 4
    packages=$(builder_packages | paste -sd,)
    rm -rf --one-file-system "$image/builder.new"
    make_debian_root "$image_suite" "$image/builder.new" --architectures="$both" --include="$packages" \
        --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' ||
        die "the Debian root could not be made; the lines above are mmdebstrap's. Is there a network, and room in build/image?"
    mkdir -p "$image/builder.new$inside" "$image/builder.new/out" "$image/builder.new/var/cache/ccache"
    rm -rf --one-file-system "$image"/{builder.key,builder,tree}
    mv "$image/builder.new" "$builder"
    printf '%s\n' "$key" >"$image/builder.key"
    du -sh "$builder" | sed "s|\t$root/| in |"
}

enough_room() {
    local free
    free=$(df --output=avail -B1G "$image" | tail -n 1)
    ((free >= $1)) || die "build/image needs $1 GB of room and has $free"
}

# The machine's own, where it has one: what was compiled in another Debian root of the same packages is not compiled again.
compiler_cache() {
    local cache
    command -v ccache >/dev/null || return 0
    cache=$(ccache --get-config cache_dir) && mkdir -p "$cache" && printf '%s\n' "$cache"
}

# in_builder COMMAND...: with mounts and processes of its own. The sources are there as they are here, read only; the build
# trees are kept in tree beside the builder, results go to out.
in_builder() {
    local cache
    cache=$(compiler_cache)
    mkdir -p "$image"/{tree,out} "$root/build"
    # shellcheck disable=SC2016 # expanded inside
    unshare --mount --propagation private --pid --fork --kill-child bash -e -c '
        builder=$1 sources=$2 inside=$3 cache=$4
        shift 4
        mount --bind "$sources" "$builder$inside"
        mount -o remount,bind,ro "$builder$inside"
        mount --bind "${builder%/*}/tree" "$builder$inside/build"
        mount --bind "${builder%/*}/out" "$builder/out"
        [[ ! $cache ]] || mount --bind "$cache" "$builder/var/cache/ccache"
        mount -t proc proc "$builder/proc"
        [[ -c $builder/dev/null ]] || mount --rbind /dev "$builder/dev"
        exec chroot "$builder" "$@"' - "$builder" "$root" "$inside" "$cache" \
        /usr/bin/env -i -C "$inside" HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM="${TERM:-dumb}" \
        ${cache:+CCACHE_DIR=/var/cache/ccache} CULVERT_COMMIT="$commit" SOURCE_DATE_EPOCH="$commit_date" "$@"
}

build_inside() { in_builder scripts/lib/image_inside.sh /out/root /out/debug "$arch"; }

emulator() { [[ $arch == "$machine" ]] || sed 's/^/qemu-/; s/amd64/x86_64/; s/arm64/aarch64/' <<<"$arch"; }

# in_image FOLDER COMMAND...: with the image's files in FOLDER alone. What is not this machine's is started by qemu-user: its
# programs, on this machine's kernel.
in_image() {
    local folder=$1 emulator
    emulator=$(emulator)
    shift
    # shellcheck disable=SC2016 # expanded inside
    unshare --mount --propagation private bash -e -c '
        folder=$1 emulator=$2
        shift 2
        [[ $emulator ]] || exec chroot "$folder" "$@"
        mount -t tmpfs tmpfs "$folder/tmp"
        cp "$emulator" "$folder/tmp/emulator"
        exec chroot "$folder" /tmp/emulator "$@"' - "$folder" "${emulator:+$builder/usr/bin/$emulator}" "$@"
}

# The new files take the place of the old at once: a daemon that runs from the old ones keeps them.
publish() {
    local part program
    for program in /usr/bin/culvertctl /usr/sbin/culvertd; do
        in_image "$image/out/root" "$program" --version >"$image/version" ||
            die "${program##*/} does not start from the image's files alone"
    done
    for part in root debug; do
        rm -rf "$image/$part.old"
        [[ ! -e $image/$part ]] || mv "$image/$part" "$image/$part.old"
        mv "$image/out/$part" "$image/$part"
        rm -rf "$image/$part.old"
    done
    [[ $arch != "$machine" ]] || { write_launcher && "$image/culvertd" --version; }
    du -sh "$files" | sed "s|\t$root/| in |"
}

# write_archive FILE ARCH...
write_archive() {
    local file=$1 arch roots=()
    shift
    for arch; do
        image_for "$arch"
        roots+=(--root "$arch=$files")
    done
    python3 "$here/lib/oci_archive.py" "${roots[@]}" --commit "$revision" --version "$(image_version)" \
        --date "$commit_date" "$file"
}
