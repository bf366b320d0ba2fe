# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154
# The steps of scripts/image. Expects: $root (the repository), say.sh, packages.sh, debian_root.sh.

image_suite=trixie
image=$root/build/image # all that is made
builder=$image/builder  # the Debian root that is built in
files=$image/root       # what the container holds
inside=/usr/src/culvert # the sources' place in there, the same for everyone: paths in the debug information do not differ

# Asked once, so that everything that is made names the same.
know_commit() {
    commit=$(git -C "$root" describe --always --dirty --abbrev=12 '--exclude=*' 2>/dev/null || echo unknown)
    revision=$(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)
    commit_date=$(git -C "$root" log -1 --format=%ct 2>/dev/null || date +%s)
}
image_version() { "$image/culvertd" --version | awk 'NR == 1 {print $2}'; }

# The build root is made anew when its packages or their source change.
builder_packages() { printf '%s\n' "${build_packages[@]}" "${image_packages[@]}" "${manifest_packages[@]}" libboost-dev ccache; }
builder_key() { { builder_packages && debian_sources "$image_suite"; } | sha256sum | cut -d' ' -f1; }

ensure_builder() {
    local key packages
    key=$(builder_key)
    [[ -e $image/builder.key && $(<"$image/builder.key") == "$key" ]] && return
    enough_room 4
    packages=$(builder_packages | paste -sd,)
    rm -rf --one-file-system "$image/builder.new"
    make_debian_root "$image_suite" "$image/builder.new" --include="$packages" --dpkgopt=force-unsafe-io \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' ||
        die "the Debian root could not be made; the lines above are mmdebstrap's. Is there a network, and room in build/image?"
    mkdir -p "$image/builder.new$inside" "$image/builder.new/out" "$image/builder.new/var/cache/ccache"
    rm -rf --one-file-system "$image"/{builder.key,builder,tree}
    mv "$image/builder.new" "$builder"
    printf '%s\n' "$key" >"$image/builder.key"
    du -sh "$builder" | sed 's/\t.*/ in build\/image\/builder/'
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
# trees are kept in build/image/tree, results go to build/image/out.
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
        mount --bind "$sources/build/image/tree" "$builder$inside/build"
        mount --bind "$sources/build/image/out" "$builder/out"
        [[ ! $cache ]] || mount --bind "$cache" "$builder/var/cache/ccache"
        mount -t proc proc "$builder/proc"
        [[ -c $builder/dev/null ]] || mount --rbind /dev "$builder/dev"
        exec chroot "$builder" "$@"' - "$builder" "$root" "$inside" "$cache" \
        /usr/bin/env -i -C "$inside" HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM="${TERM:-dumb}" \
        ${cache:+CCACHE_DIR=/var/cache/ccache} CULVERT_COMMIT="$commit" SOURCE_DATE_EPOCH="$commit_date" "$@"
}

build_inside() { in_builder scripts/lib/image_inside.sh /out/root /out/debug; }

# The new files take the place of the old at once: a daemon that runs from the old ones keeps them.
publish() {
    local part program
    for part in root debug; do
        rm -rf "$image/$part.old"
        [[ ! -e $image/$part ]] || mv "$image/$part" "$image/$part.old"
        mv "$image/out/$part" "$image/$part"
        rm -rf "$image/$part.old"
    done
    write_launcher
    "$image/culvertd" --version
    for program in /usr/sbin/culvertd /usr/bin/culvertctl; do
        chroot "$files" "$program" --version >/dev/null || die "${program##*/} does not start from the image's files alone"
    done
    du -sh "$files" | sed 's/\t.*/ in build\/image\/root/'
}

write_archive() {
    python3 "$here/lib/oci_archive.py" --root "$files" --commit "$revision" --version "$(image_version)" \
        --date "$commit_date" "$1"
}
