# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154
# scripts/image --dockerfile: manifests/Dockerfile built by buildah, without a registry: the base is a Debian root of our
# own (with ccache in it where the machine has that). Nothing is pulled or pushed; all that is buildah's is in
# build/image/buildah, and is removed. Expects: image.sh.

in_buildah() {
    buildah --root "$image/buildah/storage" --runroot "$image/buildah/run" --storage-driver vfs "$@"
}

make_base() {
    local container cache
    enough_room 8
    cache=$(compiler_cache)
    remove_buildah
    mkdir -p "$image/buildah"
    # Without waiting for the disk at each file, as in Docker's own image.
    make_debian_root "$image_suite" "$image/buildah/base.tar" --dpkgopt=force-unsafe-io ${cache:+--include=ccache} ||
        die "the Debian root could not be made; see above"
    container=$(in_buildah from scratch) &&
        in_buildah add --quiet "$container" "$image/buildah/base.tar" / >/dev/null &&
        in_buildah commit --quiet "$container" localhost/debian:trixie &&
        in_buildah rm "$container" >/dev/null &&
        rm "$image/buildah/base.tar"
}

build_dockerfile() {
    local status=0 cache
    cache=$(compiler_cache)
    in_buildah build --isolation chroot --pull-never --layers=false --format oci --file "$root/manifests/Dockerfile" \
        --build-arg BASE=localhost/debian:trixie --build-arg COMMIT="$commit" \
        --build-arg SOURCE_DATE_EPOCH="$commit_date" --build-arg VERSION="$(image_version)" \
        --build-arg REVISION="$revision" ${cache:+--volume "$cache:/root/.cache/ccache"} \
        --tag localhost/culvert "$root" &&
        rm -f "$image/dockerfile.oci.tar" &&
        in_buildah push --quiet localhost/culvert "oci-archive:$image/dockerfile.oci.tar" || status=$?
    remove_buildah
    return "$status"
}

remove_buildah() {
    [[ -e $image/buildah ]] || return 0
    in_buildah rm --all >/dev/null 2>&1
    in_buildah rmi --all --force >/dev/null 2>&1
    rm -rf --one-file-system "$image/buildah"
}
