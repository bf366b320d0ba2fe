#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# check_manifests.sh [FOLDER]: what `kubectl kustomize` makes of manifests/kubernetes, alone and with each component, goes
# into FOLDER and is judged by check_manifests.py. Then spoilt copies have to be refused: judges that never say no are none.
# kubectl is that of the Debian root that scripts/image builds in.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
root=${here%/scripts}
. "$here/lib/say.sh"
. "$here/lib/packages.sh"
. "$here/lib/debian_root.sh"
. "$here/lib/image.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
made=${1:-$work/made}
components=()
for component in "$root"/manifests/kubernetes/components/*/; do components+=("$(basename "$component")"); done

# Which components, of the copy FOLDER: on standard output.
build() {
    local folder=$1 component
    shift
    mkdir -p "$folder/cluster"
    {
        printf 'resources: [../kubernetes]\ncomponents:\n'
        for component; do printf -- '- ../kubernetes/components/%s\n' "$component"; done
    } >"$folder/cluster/kustomization.yaml"
    # shellcheck disable=SC2154 # of image.sh
    "$builder/usr/bin/kubectl" kustomize "$folder/cluster"
}

judge() { PYTHONPATH=$root/build/deps/validator python3 "$here/lib/check_manifests.py" "$root" "$@"; }

check_all() {
    local component
    cp -r "$root/manifests/kubernetes" "$work"
    mkdir -p "$made"
    "$builder/usr/bin/kubectl" kustomize "$root/manifests/kubernetes" >"$made/base.yaml"
    for component in "${components[@]}"; do build "$work" "$component" >"$made/$component.yaml"; done
    build "$work" "${components[@]}" >"$made/all.yaml"
    judge "$made"/*.yaml || return
    say "good: manifests/kubernetes, alone, with each of ${components[*]}, and with all of them"
}

# refuses WORDS FILE EXPRESSION: a copy with FILE changed by sed.
refuses() {
    local words=$1 file=$2 spoilt status=0
    spoilt=$(mktemp -d "$work/XXXXXX")
    cp -r "$root/manifests/kubernetes" "$spoilt"
    sed -i "$3" "$spoilt/kubernetes/$file"
    cmp -s "$spoilt/kubernetes/$file" "$root/manifests/kubernetes/$file" && die "nothing to spoil in $file by $3"
    { build "$spoilt" "${components[@]}" >"$spoilt/all.yaml" && judge "$spoilt/all.yaml"; } >"$spoilt/said" 2>&1 || status=$?
    [[ $status != 0 ]] && grep -qF "$words" "$spoilt/said" && return
    cat "$spoilt/said"
    die "$file spoilt by $3: expected to hear \"$words\""
}

[[ -x $builder/usr/bin/kubectl ]] || die "there is no kubectl in build/image/builder; scripts/image makes it"
"$here/lib/fetch_validator.sh"
check_all
refuses "'readOnlyRootFilesytem' was unexpected" daemonset.yaml 's/readOnlyRootFilesystem/readOnlyRootFilesytem/'
refuses "is not of type 'integer'" daemonset.yaml 's/maxSurge: 1/maxSurge: one/;s/containerPort: 15021/containerPort: ready/'
refuses "culvertd reads no NODENAME" daemonset.yaml 's/name: NODE_NAME/name: NODENAME/'
refuses "TERMINATION_GRACE_PERIOD_SECONDS is not" daemonset.yaml 's/terminationGracePeriodSeconds: 30/terminationGracePeriodSeconds: 60/'
refuses "cgroup is not both" daemonset.yaml 's/- name: cgroup$/- name: cgroups/'
refuses "no matches for Id DaemonSet" components/crl/crl.yaml 's/name: ztunnel/name: waypoint/'
say "refused: six spoilt copies"
