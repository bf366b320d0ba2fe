# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154
# What a capture is made of and how it behaves, measured in the demo's mesh; and both captures side by side.

declare -A measured
rows=() # what is measured, in the order of the comparison

# measure WHAT VALUE EBPF IPTABLES: notes the value, and promises that it is what the capture of now makes one expect.
measure() {
    local expected=$3
    if [[ $capture == ebpf ]]; then rows+=("$1"); else expected=$4; fi
    measured["$capture $1"]=$2
    promise "$1: $2" matches "$2" "$expected"
}

matches() {
    [[ $1 =~ ^$2$ ]] && return
    why="expected $2"
    return 1
}

number='[1-9][0-9]*'

measure_capture() {
    local samples
    heading "what capture: $capture puts where, and what comes of it"
    samples=$(samples_of 1)
    measure "in curl-1's netns" "$(links_of_curl) BPF links, $(netns_holds curl-1)" \
        "$number BPF links, $number ip rules, 0 iptables rules" "0 BPF links, 0 ip rules, $number iptables rules"
    measure "in node 1's netns" "$(iptables_rules n1) iptables rules, $(addresses_in_sets n1) addresses in ipsets" \
        "0 iptables rules, 0 addresses in ipsets" "$number iptables rules, 4 addresses in ipsets"
    measure_joining
    measure_held_call
    measure "verdicts with a reason" "$(verdicts "$samples")" "$number" 0
    measure_probe
    measure_marked_app
    measure_killed_daemon
}

# The links that the daemon of node 1 keeps for curl-1.
links_of_curl() {
    local cookie
    cookie=$(dump "$(pins_of 1)" cv_pods |
        jq -r '.[].formatted | select(.value.name == "default/curl-1") | .key.netns_cookie')
    # By their pins: bpftool's words for links change with its version.
    find "$(pins_of 1)/pods/${cookie:-none}" -type f 2>/dev/null | wc -l
}

addresses_in_sets() { in_pod "$1" ipset save 2>/dev/null | grep -c '^add' || true; }

# From a page that says nothing at all one learns nothing.
verdicts() {
    awk '/^culvert_build_info/ {read = 1} /^culvert_capture_decisions_total[{ ]/ {sum += $NF}
        END {print read ? sum + 0 : "unknown"}' <<<"$1"
}

samples_of() { in_pod "n$1" curl -sS -m 5 http://127.0.0.1:15020/metrics 2>/dev/null || true; }

# Five times curl-2 leaves node 2's file and joins it again, beside nothing else; the mean of the daemon's own histogram.
measure_joining() {
    local before after tries
    before=$(samples_of 2)
    say "   curl-2 leaves and joins $run/n2.yaml, five times"
    for ((tries = 0; tries < 5; tries++)); do
        node_yaml 2 | grep -v 'name: curl-2, .*netns:' >"$run/n2.next"
        mv "$run/n2.next" "$run/n2.yaml"
        eventually 5 node_has_pods 2 1 || break
        node_yaml 2 >"$run/n2.next"
        mv "$run/n2.next" "$run/n2.yaml"
        eventually 5 node_has_pods 2 2 || break
    done
    after=$(samples_of 2)
    measure "a pod joins a running node in" "$(enrolment_time "$before" "$after")" \
        '[0-9.]+ ms, mean of 5' '[0-9.]+ ms, mean of 5'
}

node_has_pods() { [[ $(sample culvert_capture_pods <<<"$(samples_of "$1")") == "$2" ]]; }

sample() { awk -v name="$1" '$1 == name {print $2}'; }

# Between two readings of the histogram.
enrolment_time() {
    awk '$1 == "culvert_capture_enrolment_seconds_sum" {sum = $2 - sum}
        $1 == "culvert_capture_enrolment_seconds_count" {count = $2 - count}
        END {if (count > 0) printf "%.1f ms, mean of %d", 1000 * sum / count, count; else print "unknown"}' <<<"$1"$'\n'"$2"
}

# A call by service address is alive: both ends of curl's connection are in curl-1, and what rewrote it remembers it there.
measure_held_call() {
    hold_call curl-1 "http://$vip4/drip?numbytes=5&duration=4&delay=0"
    if eventually 3 find_ends; then
        say "   in curl-1: curl is $app, connected to $vip4:80; culvertd's socket for $app is ${proxy:-nowhere}"
    fi
    measure "culvertd's socket for $vip4:80" "${proxy:-(none)}" "$vip4:80" 127.0.0.1:15001
    measure "conntrack in curl-1" "$(conntrack_entries curl-1) entries" '0 entries' "$number entries"
    kill "$held" 2>/dev/null || true
}

find_ends() {
    local sockets
    sockets=$(in_pod curl-1 ss -Htn state established | sed 's/\[::ffff:\([0-9.]*\)\]/\1/g')
    app=$(awk -v vip="$vip4:80" '$4 == vip {print $3}' <<<"$sockets" | head -n 1)
    proxy=$(awk -v app="${app:-none}" '$4 == app {print $3}' <<<"$sockets" | head -n 1)
    [[ $app && $proxy ]]
}

conntrack_entries() { in_pod "$1" cat /proc/sys/net/netfilter/nf_conntrack_count 2>/dev/null || echo 0; }

measure_probe() {
    say "   node 1\$ curl http://$(ip4_of httpbin-1):8000/ip, as a kubelet probes"
    in_pod n1 curl -sS -m 5 -o "$run/curl.out" "http://$(ip4_of httpbin-1):8000/ip" 2>"$run/curl.err" ||
        say "      $(<"$run/curl.err")"
    measure "a probe from node 1 comes from" "$(origin)" "10\.71\.1\.1" "169\.254\.7\.127"
}

# dial CAPABILITY ARGUMENTS...: dial.py in curl-1, as nobody, with this one capability or 'none'.
dial() {
    local may=-all
    [[ $1 == none ]] || may=-all,+$1
    shift
    in_pod curl-1 setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set="$may" --inh-caps="$may" \
        --ambient-caps="$may" /usr/bin/python3 - "$@" <"$here/lib/dial.py" 2>&1 | tail -n 1
}

measure_marked_app() {
    local tap=$run/$capture-marked.pcap outcome shown
    start_tcpdump n1 wire "$tap"
    say "   curl-1, as nobody with CAP_NET_RAW\$ connect to $(ip4_of httpbin-2):8000 with SO_MARK 0x539"
    outcome=$(dial net_raw "$(ip4_of httpbin-2)" 8000 0x539 "$secret")
    eventually 3 tap_has_an_answer "$tap" || true
    stop_tcpdumps
    shown=$(tcpdump -r "$tap" -n -q -t tcp 2>/dev/null) || true
    say "   tcpdump between the nodes, the first of $(wc -l <<<"$shown") segments:"
    sed -n '1,4s/^/      /p' <<<"$shown"
    read_capture "$tap"
    measure "an app that sets mark 0x539" "${outcome%% *}, $(way_of_the_marked)" \
        "200, through the tunnel" "200, past the mesh, readable on the wire"
}

tap_has_an_answer() {
    read_capture "$1"
    ((${wire[data]:-0} >= 2 || ${wire[other_tcp]:-0} >= 6))
}

way_of_the_marked() {
    if ((${wire[other_tcp]:-0} == 0 && ${wire[data]:-0} > 0)) && [[ ! ${wire[found]} ]]; then
        printf 'through the tunnel'
    elif [[ ${wire[found]:-} == *"$secret"* ]]; then
        printf 'past the mesh, readable on the wire'
    else
        printf 'tunnel segments: %s, others: %s' "${wire[tunnel]:-?}" "${wire[other_tcp]:-?}"
    fi
}

# Its pods stay closed: nobody is there to carry the call, and it does not go out by itself.
measure_killed_daemon() {
    say "   kill -KILL culvertd of node 1; curl-1\$ connect to $(ip4_of httpbin-2):8000"
    kill -KILL "$(<"$run/n1.pid")" 2>/dev/null || true
    eventually 5 culvertd_has_ended 1 || true
    measure "connect, culvertd killed" "$(dial none "$(ip4_of httpbin-2)" 8000)" \
        'EHOSTUNREACH after [0-9]{1,2}\.[0-9] ms' 'ECONNREFUSED after [0-9]{1,2}\.[0-9] ms'
}

compare_captures() {
    local row
    heading "what differs"
    printf '   %s%-36s %-46s %s%s\n' "$bold" measured ebpf iptables "$plain"
    for row in "${rows[@]}"; do
        printf '   %-36s %-46s %s\n' "$row" "${measured["ebpf $row"]:-?}" "${measured["iptables $row"]:-?}"
    done
    promise "each line was measured under both captures" equals "${#measured[@]}" $((2 * ${#rows[@]}))
}
