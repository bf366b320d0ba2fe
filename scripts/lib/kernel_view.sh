# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154
# A station of the demo: what bpftool shows of a daemon, while a connection is alive.
#
# Programs and maps are found by the pins of node 1: other daemons may share the kernel and use the same names.

visit_the_kernel() {
    local pins
    pins=$(pins_of 1)
    heading "the kernel's side of node 1, while curl-1 waits for a slow answer"
    hold_call curl-1 "http://$(ip4_of httpbin-2):8000/drip?numbytes=50&duration=20&delay=0"
    eventually 3 flow_answers "$pins" || true
    show_programs "$pins"
    show_pods "$pins"
    show_flows "$pins"
    show_counts "$pins"
    kill "$held" 2>/dev/null || true
}

# dump PINS MAP: the map's rows as JSON, none when it is not there. Big numbers become strings: jq would round them.
dump() {
    local rows
    rows=$(bpftool -j map dump pinned "$1/$2" 2>/dev/null) || rows='[]'
    sed -E 's/:([0-9]{16,})/:"\1"/g' <<<"$rows"
}

flows() { dump "$1" cv_flows | jq -c '.[].formatted.value | select(.owner != 0)' || true; }

flow_answers() { [[ $(flows "$1" | jq -s 'map(.to_source_bytes) | add // 0') != 0 ]]; }

# The programs that use any of the pinned maps.
programs() {
    local pin ids=''
    for pin in "$1"/cv_*; do
        ids+=$(bpftool -j map show pinned "$pin" 2>/dev/null | jq '.id // empty' || true)' '
    done
    bpftool -j prog show 2>/dev/null | jq -r --arg ids "$ids" \
        '($ids | split(" ") | map(select(. != "") | tonumber)) as $ours |
            .[] | select((.map_ids // []) - $ours != (.map_ids // [])) | .id' || true
}

show_programs() {
    local id shown=''
    for id in $(programs "$1"); do
        shown+=$(bpftool prog show id "$id" 2>/dev/null | head -n 1 || true)$'\n'
    done
    say "   bpftool prog, those that use the maps in $1:"
    printf '%s' "${shown:-(none)$'\n'}" | sed 's/^/      /'
    promise "programs of ours are loaded: sockops, sk_lookup and the guard" has_types "$shown" sock_ops sk_lookup sched_cls
}

has_types() {
    local programs=$1 type
    shift
    for type; do
        [[ $programs == *": $type "* ]] || { why="no $type"; return 1; }
    done
}

show_pods() {
    say "   bpftool map dump pinned $1/cv_pods:"
    dump "$1" cv_pods | jq -c '.[].formatted' | sed 's/^/      /'
    promise "cv_pods has the two pods of node 1" equals "$(dump "$1" cv_pods | jq length)" 2
}

# The rows of both ends: the app's socket in curl-1, and nothing else of node 1, for the replica is on node 2.
show_flows() {
    local rows
    rows=$(flows "$1")
    say "   bpftool map dump pinned $1/cv_flows, rows in use:"
    printf '%s\n' "${rows:-(none)}" | sed 's/^/      /'
    promise "cv_flows has the connection: both identities, its tunnel, bytes so far" flow_is_there "$rows"
}

flow_is_there() {
    [[ $1 ]] || { why="no row is in use"; return 1; }
    why=$(jq -r --arg source "$(identity_of curl-1)" --arg destination "$(identity_of httpbin-2)" \
        'select(.kind == "CV_FLOW_OUTBOUND" and .destination_port == 8000) |
            if .source != $source then "source is \(.source)"
            elif .destination != $destination then "destination is \(.destination)"
            elif .state != "CV_FLOW_OPEN" then "state is \(.state)"
            elif .path != "CV_PATH_TUNNEL" then "path is \(.path)"
            elif .from_source_bytes == 0 or .to_source_bytes == 0 then "no bytes are counted"
            else "none" end' <<<"$1")
    [[ $why ]] || { why="no outbound row to port 8000"; return 1; }
    [[ $why == none* ]]
}

# One row per CPU, one column per reason; added up here.
show_counts() {
    local counts
    counts=$(dump "$1" cv_counts | jq -c '[.[].formatted.values[].value | to_entries[]] | group_by(.key) |
        map({key: .[0].key, value: (map(.value) | add)}) | map(select(.value > 0)) | from_entries') || counts=
    say "   bpftool map dump pinned $1/cv_counts, all CPUs together, reasons that occurred:"
    say "      ${counts:-(none)}"
    promise "connects were captured and handed to the proxy, tunnels came in" \
        counted "$counts" CONNECT_CAPTURED TO_OUTBOUND TO_TUNNEL CONNECT_LEG PASS_LEG FLOW_OPENED
    promise "no captured byte tried to leave past the proxy" equals "$(jq -r '.GUARD_CAPTURED // 0' <<<"${counts:-{\}}")" 0
}

counted() {
    local counts=$1 reason
    shift
    for reason; do
        [[ $(jq -r --arg reason "$reason" '.[$reason] // 0' <<<"${counts:-{\}}") -gt 0 ]] || { why="$reason is 0"; return 1; }
    done
}
