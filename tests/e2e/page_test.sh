#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# page_test.sh CULVERTD PAGE: the manual knows what --help knows, and nothing else; man finds nothing to complain about.
set -euo pipefail
failed=0
if command -v man >/dev/null; then
    complaints=$(LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=100 man --warnings -l "$2" 2>&1 >/dev/null)
    [[ ! $complaints ]] || { printf 'man: %s\n' "$complaints"; failed=1; }
fi
help=$("$1" --help)
page=$(sed 's/\\-/-/g' "$2")
has() { grep -qwF -e "$2" <<<"$1" || { printf '%s does not know %s\n' "$3" "$2"; failed=1; }; }
words() { grep -oE -e '--[a-z-]+|\bculvertd (check|cleanup)\b|\b(TERM|INT|HUP)\b'; }
while read -r word; do has "$page" "$word" "the page"; done < <(words <<<"$help" | sort -u)
while read -r word; do has "$help" "$word" --help; done < <(words <<<"$page" | sort -u)
while read -r status; do
    grep -qx ".B $status" <<<"$page" || { echo "the page does not know the status $status"; failed=1; }
done < <(sed -n '/^exit/,/^doors/p' <<<"$help" | grep -oE '\b[0-9]\b')
exit $failed
