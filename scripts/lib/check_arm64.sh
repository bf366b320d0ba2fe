#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# scripts/lib/check_arm64.sh: makes the image for arm64, and looks whether it is one: its unit suites, its programs, what
# the archive says. Without a kernel of arm64, so nothing about pods.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
root=${here%/scripts}
. "$here/lib/say.sh"
. "$here/lib/packages.sh"
. "$here/lib/debian_root.sh"
. "$here/lib/image.sh"

# platforms ARCHIVE: of its one name: the image's own word, or what an index promises and each image then says.
platforms() {
    local archive=$1 named manifest promised
    named=$(tar -xOf "$archive" index.json | promises)
    [[ $named != *$'\tnull' ]] || named=$(blob "$archive" "${named%%$'\t'*}" | promises)
    while IFS=$'\t' read -r manifest promised; do
        printf '%s: ' "$promised"
        blob "$archive" "$(blob "$archive" "$manifest" | jq -r '.config.digest')" | jq -r '.os + "/" + .architecture'
    done <<<"$named"
}
promises() { jq -r '.manifests[] | "\(.digest)\t\(.platform.architecture)"'; }
blob() { tar -xOf "$1" "blobs/${2/://}"; }

# hears WORDS COMMAND...: it fails, and says so.
hears() {
    local words=$1 said status=0
    shift
    said=$(in_image "$files" "$@" 2>&1) || status=$?
    [[ $status != 0 && $said == *"$words"* ]] || die "$* said with status $status: $said; expected: $words"
}

image_for arm64
"$here/image" --arch arm64 --unit --quiet
cat "$image/unit.log"
[[ $(platforms "$image/culvert.oci.tar") == "arm64: linux/arm64" ]] || die "the archive names another architecture"
know_commit
write_archive "$image/both.oci.tar" "$machine" arm64
[[ $(platforms "$image/both.oci.tar" | paste -sd,) == "$machine: linux/$machine,arm64: linux/arm64" ]] ||
    die "an archive of both names others"
rm "$image/both.oci.tar"
image_for arm64
machines=$(find "$files" -type f -exec sh -c 'readelf -h "$@" 2>/dev/null; true' - {} + | sed -n 's/^ *Machine: *//p' | sort -u)
[[ $machines == AArch64 ]] || die "programs and libraries of the image are for: $machines"
[[ $(in_image "$files" /usr/bin/culvertctl --help) == *"culvertctl COMMAND"* ]] || die "culvertctl has no help"
hears "read /etc/culvert/none.yaml: No such file" /usr/sbin/culvertd --config /etc/culvert/none.yaml
for program in /usr/sbin/ip{,6}tables-legacy; do in_image "$files" "$program" --version >/dev/null; done
say "arm64: $(paste -sd'|' "$image/version" | sed 's/|/; /g')"
