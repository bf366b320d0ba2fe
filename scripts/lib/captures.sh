# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154
# The demo's two captures: from one to the other, what each is made of and how it behaves, and both side by side.

# Whether the kernel has what the rules are made of. Tried in a namespace that nobody else sees; its reason is in `why`.
iptables_works() {
    local kind=${FORCE_IPTABLES_BINARY:-nft}
    why=$(unshare --net bash -e -s "$kind" 2>&1 <<-'END'
	for family in ip ip6; do
	    ${family}tables-"$1" -t mangle -A OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark
	    ${family}tables-"$1" -t nat -A OUTPUT -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
	done
	ipset create pods hash:ip
	iptables-"$1" -t nat -A POSTROUTING -p tcp -m owner --socket-exists -m set --match-set pods dst -j SNAT --to-source 169.254.7.127
	END
    ) && return
    why=${why##*$'\n'}
    return 1
}

# The other capture takes the same pods, once nothing of the first is left in them.
switch_to() {
    local node broken=${#promises_broken[@]}
    say "   both daemons end; culvertd cleanup; the same files again, but for 'capture: $1'"
    for node in 1 2; do kill -TERM "$(<"$run/n$node.pid")" 2>/dev/null || true; done
    for node in 1 2; do promise "culvertd of node $node has ended" eventually 15 culvertd_has_ended "$node"; done
    for node in 1 2; do "$culvertd" cleanup "$lab-n$node" >>"$run/cleanup.log" 2>&1 9>&- || true; done
    promise "of $capture nothing is left in pods and nodes: no link, no rule, no record" nothing_is_captured
    capture=$1
    start_daemons
    ((${#promises_broken[@]} == broken))
}

culvertd_has_ended() { ! kill -0 "$(<"$run/n$1.pid")" 2>/dev/null; }

nothing_is_captured() {
    local netns left
    for netns in "${mesh_pods[@]}" n1 n2; do
        left=$(netns_holds "$netns")
        [[ $left == "0 ip rules, 0 iptables rules" ]] || { why="$netns has $left"; return 1; }
    done
    left=$(compgen -G "/sys/fs/bpf/culvert/$lab-*" || true; compgen -G "/run/culvert/$lab-*" || true)
    why=${left//$'\n'/ }
    [[ ! $left ]]
}

ip_rules() { { ip -n "$lab-$1" rule show; ip -n "$lab-$1" -6 rule show; } | grep -cE '^(110|111|112):' || true; }

# Of all kinds and families; the old kind is only asked for tables that exist, for it would make them.
iptables_rules() {
    # shellcheck disable=SC2016 # expanded inside the namespace
    in_pod "$1" bash -c 'for kind in ip ip6; do
        ${kind}tables-nft-save 2>/dev/null
        [[ ! -s /proc/net/${kind}_tables_names ]] || ${kind}tables-legacy-save 2>/dev/null
    done' | grep -c '^-A' || true
}

netns_holds() { printf '%s ip rules, %s iptables rules' "$(ip_rules "$1")" "$(iptables_rules "$1")"; }

# The links that the daemon of node 1 keeps for curl-1.
links_of_curl() {
    local cookie pin links=0
    cookie=$(dump "$(pins_of 1)" cv_pods | jq -r '.[].formatted | select(.value.name == "default/curl-1") | .key.netns_cookie')
    for pin in "$(pins_of 1)/pods/${cookie:-none}"/*; do
        if bpftool link show pinned "$pin" >"$run/link" 2>&1; then links=$((links + 1)); fi
    done
    echo "$links"
}

declare -A measured

# measure WHAT VALUE EBPF IPTABLES: notes the value, and promises that it is what the capture of now makes one expect.
measure() {
    local expected=$3
    [[ $capture == ebpf ]] || expected=$4
    measured["$capture $1"]=$2
    promise "$1: $2" matches "$2" "$expected"
}

matches() {
    [[ $1 =~ ^$2$ ]] && return
    why="expected $2"
    return 1
}

number='[1-9][0-9]*'
# What is measured, in the order of the comparison.
rows=("in curl-1's netns" "in node 1's netns" "one pod's enrolment" "culvertd's socket for $vip4:80" "conntrack in curl-1"
    "verdicts with a reason" "a probe from node 1 comes from" "an app that sets mark 0x539" "connect, culvertd killed")

measure_capture() {
    local samples
    heading "what capture: $capture puts where, and what comes of it"
    samples=$(in_pod n1 curl -sS -m 5 http://127.0.0.1:15020/metrics 2>/dev/null) || samples=
    measure "${rows[0]}" "$(links_of_curl) BPF links, $(netns_holds curl-1)" \
        "$number BPF links, $number ip rules, 0 iptables rules" "0 BPF links, 0 ip rules, $number iptables rules"
    measure "${rows[1]}" "$(iptables_rules n1) iptables rules, $(addresses_in_sets n1) addresses in ipsets" \
        "0 iptables rules, 0 addresses in ipsets" "$number iptables rules, 4 addresses in ipsets"
    measure "${rows[2]}" "$(enrolment_time "$samples")" '[0-9.]+ ms' '[0-9.]+ ms'
    measure_held_call
    measure "${rows[5]}" "$(verdicts "$samples")" "$number" 0
    measure_probe
    measure_marked_app
    measure_killed_daemon
}

addresses_in_sets() { in_pod "$1" ipset save 2>/dev/null | grep -c '^add' || true; }

verdicts() { awk '/^culvert_capture_decisions_total[{ ]/ {sum += $NF} END {print sum + 0}' <<<"$1"; }

enrolment_time() {
    awk '$1 == "culvert_capture_enrolment_seconds_sum" {sum = $2} $1 == "culvert_capture_enrolment_seconds_count" {count = $2}
        END {if (count) printf "%.1f ms", 1000 * sum / count; else print "unknown"}' <<<"$1"
}

# A call by service address is alive: both ends of curl's connection are in curl-1, and what rewrites it remembers it there.
measure_held_call() {
    hold_call curl-1 "http://$vip4/drip?numbytes=5&duration=4&delay=0"
    if eventually 3 find_ends; then
        say "   in curl-1: curl is $app, connected to $vip4:80; culvertd's socket for $app is ${proxy:-nowhere}"
    fi
    measure "${rows[3]}" "${proxy:-(none)}" "$vip4:80" 127.0.0.1:15001
    in_pod curl-1 cat /proc/net/nf_conntrack 2>/dev/null | grep -m 1 "sport=${app##*:} dst=$vip4" | sed 's/ \+/ /g;s/^/      /' || true
    measure "${rows[4]}" "$(conntrack_entries curl-1) entries" '0 entries' "$number entries"
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
    measure "${rows[6]}" "$(origin)" "10\.71\.1\.1" "169\.254\.7\.127"
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
    measure "${rows[7]}" "${outcome%% *}, $(way_of_the_marked)" "200, through the tunnel" "200, past the mesh, readable on the wire"
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
    measure "${rows[8]}" "$(dial none "$(ip4_of httpbin-2)" 8000)" \
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
