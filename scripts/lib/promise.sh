# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154
# What a tour promises, and whether it came true. A broken promise is named where it breaks and again at the end.

promises_kept=0
promises_broken=()
why=''

# promise WHAT COMMAND...: kept when the command succeeds. A command may leave its reason in `why`.
promise() {
    local what=$1
    shift
    why=''
    if "$@"; then
        promises_kept=$((promises_kept + 1))
        printf '   %sok%s      %s\n' "$green" "$plain" "$what"
    else
        promises_broken+=("$what${why:+: $why}")
        printf '   %sBROKEN%s  %s%s\n' "$red" "$plain" "$what" "${why:+: $why}"
    fi
}

# Prints the sum; fails when there is anything to be ashamed of, a tour that promised nothing included.
promises_came_true() {
    local what
    if ((${#promises_broken[@]} == 0 && promises_kept > 0)); then
        printf '%sall %d promises kept%s\n' "$green" "$promises_kept" "$plain"
        return 0
    fi
    printf '%s%d promises kept, %d broken:%s\n' "$red" "$promises_kept" "${#promises_broken[@]}" "$plain"
    for what in "${promises_broken[@]}"; do printf '   %s\n' "$what"; done
    return 1
}

# equals WHAT_IT_IS WHAT_IT_SHOULD_BE
equals() {
    [[ $1 == "$2" ]] && return
    why="found '$1', expected '$2'"
    return 1
}

at_least() {
    (($1 >= $2)) && return
    why="found $1, expected at least $2"
    return 1
}

# eventually SECONDS COMMAND...: tries until it succeeds.
eventually() {
    local until=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < until)) || return 1
        sleep 0.05
    done
}
