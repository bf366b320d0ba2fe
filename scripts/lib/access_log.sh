# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154
# Reading access log lines of the text format: TIME level scope message and fields, separated by tabs.

# The fields of a line in their order, as key=value, one a line; quotes taken off.
access_fields() {
    local rest=${1##*$'\t'} field='^([a-z_.]+)=("(([^"\\]|\\.)*)"|[^ ]*)( |$)'
    while [[ $rest =~ $field ]]; do
        printf '%s=%s\n' "${BASH_REMATCH[1]}" "${BASH_REMATCH[3]:-${BASH_REMATCH[2]}}"
        rest=${rest:${#BASH_REMATCH[0]}}
    done
    [[ ! $rest ]] || printf 'unreadable=%s\n' "$rest"
}

access_value() { access_fields "$1" | sed -n "s/^${2//./\\.}=//p"; }

# access_line_is LINE LEVEL FIELD=REGEX...: exactly these fields, in this order, each value as said.
access_line_is() {
    local line=$1 level=$2 i key
    local -a fields
    shift 2
    [[ $line ]] || { why="no such line"; return 1; }
    [[ ${line//$'\t'/ } =~ ^[0-9-]{10}T[0-9:]{8}\.[0-9]{6}Z\ "$level access connection complete src.addr=" ]] ||
        { why="it does not begin with the time, '$level', 'access' and 'connection complete'"; return 1; }
    mapfile -t fields < <(access_fields "$line")
    for ((i = 0; i < $# || i < ${#fields[@]}; i++)); do
        key=${*:i+1:1}
        key=${key%%=*}
        [[ ${fields[i]:-} == "$key="* ]] ||
            { why="field $((i + 1)) is '${fields[i]:-nothing}', expected '${key:-nothing}'"; return 1; }
        [[ ${fields[i]} =~ ^${*:i+1:1}$ ]] || { why="${fields[i]} is not ${*:i+1:1}"; return 1; }
    done
}

access_count() { if [[ -e $1 ]]; then wc -l <"$1"; else echo 0; fi; }

# access_line FILE AFTER REGEX...: the first line behind the AFTERth that matches all; waits for it, prints nothing in vain.
access_line() {
    local file=$1 after=$2 line='' regex until=$((SECONDS + 4))
    shift 2
    while [[ ! $line ]] && ((SECONDS < until)); do
        line=$([[ ! -e $file ]] || tail -n +$((after + 1)) "$file")
        for regex; do line=$(grep -E -- "$regex" <<<"$line" || true); done
        line=${line%%$'\n'*}
        [[ $line ]] || sleep 0.05
    done
    printf '%s' "$line"
}
