#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# installed_test.sh BUILD: what `cmake --install` puts somewhere leads from file to file as it does here.
set -euo pipefail
there=$(mktemp -d)
trap 'rm -rf "$there"' EXIT
cmake --install "$1" --prefix "$there/usr" >/dev/null
failed=0
links=0
must_exist() {
    links=$((links + 1))
    [[ -e $2 ]] || { printf '%s names %s, which is not installed\n' "${1#"$there"}" "${2#"$there"}"; failed=1; }
}
while read -r file; do
    while read -r link; do
        must_exist "$file" "$(dirname "$file")/$link"
    done < <(grep -oE '\]\([^):#]+\)' "$file" | sed 's/^](//; s/)$//')
done < <(find "$there" -name '*.md')
while IFS=: read -r file page; do
    must_exist "$file" "$there$page"
done < <(grep -rhoE --with-filename 'file:///[^ ]+' "$there/usr/share/culvert" | sed 's|:file://|:|')
((links > 0)) || { echo "no link was found"; failed=1; }
exit $failed
