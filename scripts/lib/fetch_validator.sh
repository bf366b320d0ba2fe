#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# fetch_validator.sh: unpacks what validator.txt names into build/deps/validator, for check_manifests.py and
# as_daemonset.py. Does nothing when it is there already. Fails where there is no network, or another Python than it has
# hashes for.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
validator=${here%/scripts/lib}/build/deps/validator
wanted=$here/validator.txt
works() { PYTHONPATH=$1 python3 -c 'import kubernetes_validate, yaml' 2>/dev/null; }

cmp -s "$wanted" "$validator/validator.txt" && works "$validator" && exit
mkdir -p "${validator%/*}"
fresh=$(mktemp -d "$validator.XXXXXX")
trap 'rm -rf "$fresh"' EXIT
python3 -m pip --disable-pip-version-check --no-input install --quiet --root-user-action ignore --no-deps --no-compile \
    --only-binary :all: --require-hashes --requirement "$wanted" --target "$fresh"
chmod 755 "$fresh"
rm -rf "$fresh"/kubernetes_validate/kubernetes-json-schema/*-local # the lenient schemas
works "$fresh"
cp "$wanted" "$fresh"
rm -rf "$validator"
mv "$fresh" "$validator"
