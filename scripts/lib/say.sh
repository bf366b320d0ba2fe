# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
# What the scripts say and how: headings, steps with their seconds, failures in words. Colours only on a terminal.

if [[ -t 1 && ${TERM:-dumb} != dumb && -z ${NO_COLOR:-} ]]; then
    bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
else
    bold='' dim='' red='' green='' plain=''
fi

heading() { printf '\n%s== %s ==%s\n' "$bold" "$*" "$plain"; }
say() { printf '%s\n' "$*"; }
aside() { printf '%s%s%s\n' "$dim" "$*" "$plain"; }

# Standard error, so that a caller who reads our output still sees why it is empty.
die() {
    printf '%s%s: %s%s\n' "$red" "${0##*/}" "$*" "$plain" >&2
    exit 1
}

# The comment block at the top of the calling script, which is its manual.
usage() {
    sed -n '3,/^[^#]/{/^#/!q;s/^# \{0,1\}//;p}' "$0"
}

step_names=()
step_seconds=()

# step NAME COMMAND...: runs it and notes how long it took; its status is the command's.
step() {
    local name=$1 began=$EPOCHREALTIME status=0
    shift
    heading "$name"
    "$@" || status=$?
    note_step "$name" "$began" "$status"
    return "$status"
}

# For a step that has to run outside `step`: NAME, $EPOCHREALTIME at its start, its status.
note_step() {
    local seconds
    seconds=$(seconds_since "$2")
    step_names+=("$1")
    step_seconds+=("$seconds")
    if [[ $3 == 0 ]]; then
        aside "   $1: $seconds s"
    else
        printf '%s   %s: failed after %s s%s\n' "$red" "$1" "$seconds" "$plain"
    fi
}

seconds_since() {
    local now=$EPOCHREALTIME
    local tenths=$(((${now/[.,]/} - ${1/[.,]/}) / 100000))
    printf '%d.%d\n' $((tenths / 10)) $((tenths % 10))
}

print_steps() {
    local i
    for i in "${!step_names[@]}"; do
        printf '%8s s  %s\n' "${step_seconds[i]}" "${step_names[i]}"
    done
}
