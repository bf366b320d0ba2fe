#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# completion_test.sh CULVERTCTL MANPAGE: what bash offers when somebody presses TAB; the scripts and the page are sound.
set -euo pipefail
ctl=$1
page=$2
failed=0
PATH=$(dirname "$ctl"):$PATH

# shellcheck disable=SC1090 # made by the program that is tested
source <("$ctl" completion bash)

offered() {
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    COMPREPLY=()
    _culvertctl
    printf '%s\n' "${COMPREPLY[@]}"
}

expect() {
    local wanted=$1 got
    shift
    got=$(offered "$@" | sort | tr '\n' ' ')
    got=${got% }
    [[ $got == "$wanted" ]] || { printf 'after "%s" it offers "%s", not "%s"\n' "$*" "$got" "$wanted"; failed=1; }
}

expect "completion connections explain pods policies reasons status trace" culvertctl ""
expect "completion connections" culvertctl c
expect "--watch" culvertctl status --w
expect "json table" culvertctl -o ""
expect "json" culvertctl pods --output j
expect "--limit" culvertctl --socket /nowhere connections --l
expect "" culvertctl status --limit
expect "" culvertctl --socket /nowhere connections --pod ""
expect "bash zsh" culvertctl completion ""
expect "" culvertctl -s /nowhere explain ""
# shellcheck disable=SC2317 # the completion calls it
culvertctl() { [[ $* != "-n here pods -o json" ]] || echo '{"pods":[{"name":"a","namespace":"ns"}]}'; }
expect "ns/a" culvertctl -n here explain n
expect "ns/a" culvertctl -n here explain x -o json ""
expect "" culvertctl -n here explain x y ""
unset -f culvertctl
expect "--version" culvertctl --v

bash -n <("$ctl" completion bash) || failed=1
if command -v zsh >/dev/null; then zsh -n <("$ctl" completion zsh) || failed=1; fi
[[ $("$ctl" completion zsh) == "#compdef culvertctl"* ]] || { echo "zsh would not load it"; failed=1; }

if command -v man >/dev/null; then
    complaints=$(LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=100 man --warnings -l "$page" 2>&1 >/dev/null)
    [[ ! $complaints ]] || { printf 'man: %s\n' "$complaints"; failed=1; }
fi
# What the program has, the page has.
for word in $("$ctl" --help | awk '/^  [a-z]/ {print $1}' | grep -vx culvertctl); do
    grep -q "^\.B.*$word" "$page" || { echo "the page does not know the command $word"; failed=1; }
    for option in $("$ctl" "$word" --help | grep -o -- '--[a-z]*'); do
        grep -q -- "${option//-/\\\\-}" "$page" || { echo "the page does not know $option of $word"; failed=1; }
    done
done
exit $failed
