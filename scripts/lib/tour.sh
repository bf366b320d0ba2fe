# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154
# The demo's stations, in the order they are visited. Each shows something and promises that it is so.

secret=culvert-demo-$RANDOM$RANDOM$RANDOM # travels in every request, and is looked for on the wire

tour() {
    build_the_mesh || return 0
    watch_the_wire
    visit_same_node
    visit_cross_node
    visit_the_wire
    visit_the_kernel
    visit_policies
    measure_capture
    heading "the same mesh with capture: iptables"
    if ! iptables_works; then
        uncompared=$why
        say "   it cannot be played, for rules do not work on this machine: $uncompared"
        return 0
    fi
    switch_to iptables || return 0
    play_iptables
    measure_capture
    compare_captures
}

uncompared='' # why

# The same apps again, and fewer of the same calls.
play_iptables() {
    watch_the_wire
    heading "capture: iptables, the same node and across"
    call_pod curl-1 httpbin-1 4
    call_service curl-1 httpbin-1 6
    call_pod curl-1 httpbin-2 6
    call_service curl-1 httpbin-2 4
    visit_the_wire
}

build_the_mesh() {
    local pod
    heading "two nodes, four pods, two daemons"
    mesh_lab_up
    "$here/lab" list "$lab"
    for pod in httpbin-1 httpbin-2; do start_httpbin "$pod"; done
    start_daemons || return
    for pod in httpbin-1 httpbin-2; do
        promise "$pod answers itself on loopback, which is not captured" eventually 20 httpbin_answers "$pod"
    done
}

start_daemons() {
    local node broken=${#promises_broken[@]}
    for node in 1 2; do start_culvertd "$node"; done
    for node in 1 2; do promise "culvertd of node $node is ready" culvertd_gets_ready "$node"; done
    ((${#promises_broken[@]} > broken)) || return 0
    say "the tour cannot go on without them"
    return 1
}

# call CLIENT URL: httpbin's answer in $run/curl.out, the status in $status, the marks for the log lines in $seen1, $seen2.
call() {
    seen1=$(access_count "$run/n1.access.log")
    seen2=$(access_count "$run/n2.access.log")
    say "   $1\$ curl $2"
    status=$(in_pod "$1" curl -sS -g -m 5 -H "X-Secret: $secret" -o "$run/curl.out" -w '%{http_code}' "$2" 2>"$run/curl.err") ||
        say "      $(<"$run/curl.err")"
}

# hold_call CLIENT URL: a call that takes its time; $held is its process.
hold_call() {
    nsenter --net="/run/netns/$lab-$1" -- curl -sS -m 10 -o /dev/null "$2" 2>/dev/null 9>&- &
    held=$!
    disown "$held"
}

origin() { jq -r .origin "$run/curl.out" 2>/dev/null || true; }

# The fields of ztunnel's line for a call from pod $1 to pod $2, by service when $3 is one; dst.addr etc. for family $4.
expected_fields() {
    local from=$1 to=$2 service=$3 source target
    if [[ $4 == 4 ]]; then
        source=$(ip4_of "$from") target=$(ip4_of "$to")
    else
        source="\\[$(ip6_of "$from")\\]" target="\\[$(ip6_of "$to")\\]"
    fi
    expected=("src.addr=$source:[0-9]+" "src.workload=$from" "src.namespace=default" "src.identity=$(identity_of "$from")"
        "src.cluster=Kubernetes" "dst.addr=$target:15008" "dst.hbone_addr=$target:8000"
        ${service:+"dst.service=$service"} "dst.workload=$to" "dst.namespace=default"
        "dst.identity=$(identity_of "$to")" "dst.cluster=Kubernetes")
}

# show_lines FROM TO SERVICE FAMILY: both sides' lines of the last call, shown and checked.
show_lines() {
    local from=$1 to=$2 service=$3 outbound inbound after
    local n_from n_to
    n_from=$(node_of "$from") n_to=$(node_of "$to")
    after=seen$n_from
    outbound=$(access_line "$run/n$n_from.access.log" "${!after}" 'direction="outbound"' "dst.workload=\"$to\"")
    after=seen$n_to
    inbound=$(access_line "$run/n$n_to.access.log" "${!after}" 'direction="inbound"' "dst.workload=\"$to\"")
    say "   outbound, node $n_from: ${outbound:-(none)}"
    say "   inbound,  node $n_to: ${inbound:-(none)}"
    expected_fields "$from" "$to" "$service" "$4"
    promise "the outbound line has ztunnel's fields in ztunnel's order" access_line_is "$outbound" info "${expected[@]}" \
        direction=outbound 'bytes_sent=[1-9][0-9]*' 'bytes_recv=[1-9][0-9]*' 'duration=[0-9]+ms'
    expected_fields "$from" "$to" httpbin.default.svc.cluster.local "$4"  # by its port, where the client named none
    promise "the inbound line too, with the identity that the certificate proved" access_line_is "$inbound" info \
        "${expected[@]}" direction=inbound 'bytes_sent=[1-9][0-9]*' 'bytes_recv=[1-9][0-9]*' 'duration=[0-9]+ms'
    promise "both sides counted the same bytes" equals \
        "$(access_value "$inbound" bytes_recv)/$(access_value "$inbound" bytes_sent)" \
        "$(access_value "$outbound" bytes_sent)/$(access_value "$outbound" bytes_recv)"
}

# One call by pod address, in one family, with everything that is promised of it.
call_pod() {
    local from=$1 to=$2 family=$3 url own
    if [[ $family == 4 ]]; then
        url=http://$(ip4_of "$to"):8000/ip own=$(ip4_of "$from")
    else
        url="http://[$(ip6_of "$to")]:8000/ip" own=$(ip6_of "$from")
    fi
    call "$from" "$url"
    promise "by pod address, IPv$family: 200" equals "$status" 200
    promise "httpbin sees the client's own address" equals "$(origin)" "$own"
    show_lines "$from" "$to" "" "$family"
}

# Calls the service until TO has answered: replicas are chosen by chance, thirty misses in a row are none.
call_service() {
    local from=$1 to=$2 family=$3 url=http://$vip4/ip tries line after
    [[ $family == 4 ]] || url="http://[$vip6]/ip"
    after=seen$(node_of "$from")
    for ((tries = 1; tries <= 30; tries++)); do
        call "$from" "$url" >"$run/call.out"
        [[ $status == 200 ]] || break
        line=$(access_line "$run/n$(node_of "$from").access.log" "${!after}" 'direction="outbound"' 'dst.service="httpbin')
        [[ $line != *"dst.workload=\"$to\""* ]] || break
    done
    cat "$run/call.out"
    promise "by service address, IPv$family: 200" equals "$status" 200
    show_lines "$from" "$to" httpbin.default.svc.cluster.local "$family"
}


# tcpdump between the nodes, and, to see that the same search finds what is there to be found, inside curl-1 on lo:
# the way from an app to culvertd.
wire_filter=() # what of the wire is looked at; nothing: all
watch_the_wire() {
    heading "tcpdump listens between the nodes"
    start_tcpdump n1 wire "$run/$capture-wire.pcap" "${wire_filter[@]}"
    start_tcpdump curl-1 lo "$run/$capture-app.pcap"
}

start_tcpdump() {
    in_background "$3.log" nsenter --net="/run/netns/$lab-$1" -- \
        tcpdump -i "$2" -n -U --immediate-mode -B 8192 -s 0 -Z root -w "$3" "${@:4}"
    tcpdumps+=($!)
    promise "tcpdump listens on $2 of $1" eventually 5 grep -qs 'listening on' "$3.log"
}

stop_tcpdumps() {
    ((${#tcpdumps[@]} == 0)) || kill "${tcpdumps[@]}" 2>/dev/null || true
    tcpdumps=()
}

tcpdumps=()

# What the capture FILE holds, in the array wire; see wire.py.
read_capture() {
    local name value
    wire=()
    while IFS='=' read -r name value; do wire[$name]=$value; done < <(
        python3 "$here/lib/wire.py" "$1" "$secret" 'HTTP/1.1' 'GET /' gunicorn 'spiffe://')
}

declare -A wire

visit_same_node() {
    heading "same-node capture: curl-1 to httpbin-1"
    call_pod curl-1 httpbin-1 4
    call_pod curl-1 httpbin-1 6
    read_capture "$run/$capture-wire.pcap"
    promise "nothing of it was on the wire between the nodes" equals "${wire[tunnel]:-?} ${wire[other_tcp]:-?}" "0 0"
    call_service curl-1 httpbin-1 4
    call_service curl-1 httpbin-1 6
    say_identities 1
}

visit_cross_node() {
    heading "cross-node capture: curl-1 to httpbin-2"
    call_pod curl-1 httpbin-2 4
    call_pod curl-1 httpbin-2 6
    call_service curl-1 httpbin-2 4
    call_service curl-1 httpbin-2 6
    say "   and the other way: curl-2 to httpbin-1"
    call_pod curl-2 httpbin-1 4
    say_identities 2
}

# Who httpbin-N is by the certificate that its node shows to anyone who connects to its port 15008. Asked from the other
# node: a connection from the pod's own node is a probe, and goes to the app.
say_identities() {
    local pod=httpbin-$1 certificate
    certificate=$(in_pod "n$((3 - $1))" timeout 5 openssl s_client -connect "$(ip4_of "$pod"):15008" 2>/dev/null </dev/null |
        openssl x509 -noout -ext subjectAltName 2>/dev/null | sed -n 's/.*URI:\([^ ,]*\).*/\1/p' || true)
    say "   certificate shown on $(ip4_of "$pod"):15008: ${certificate:-(none)}"
    say "   identities in the lines: $(grep -ohE 'spiffe://[^"]*' "$run"/n?.access.log 2>/dev/null | sort -u | paste -sd' ')"
    promise "port 15008 of $pod proves $(identity_of "$pod")" equals "$certificate" "$(identity_of "$pod")"
}

visit_the_wire() {
    heading "the wire between the nodes"
    read_capture "$run/$capture-app.pcap"
    promise "inside curl-1 tcpdump sees the plain request on its way to culvertd" \
        equals "$([[ ${wire[found]:-} == *"$secret"* ]] && echo seen)" seen
    read_capture "$run/$capture-wire.pcap"
    tcpdump -r "$run/$capture-wire.pcap" -n -q -t "tcp and host $(ip4_of curl-1)" 2>/dev/null | sed -n '1,6s/^/   /p' || true
    say "   ..."
    say "   TCP segments to or from port 15008: ${wire[tunnel]:-?} on ${wire[connections]:-?} connections; other TCP: ${wire[other_tcp]:-?}"
    say "   ARP and neighbour discovery: ${wire[neighbour]:-?}; anything else: ${wire[other]:-?}"
    say "   TLS records: ${wire[handshake]:-?} handshake, ${wire[data]:-?} data; bytes that are no TLS record: ${wire[outside]:-?}"
    promise "TLS handshakes and data crossed it" at_least "$((${wire[handshake]:-0} > 0 ? ${wire[data]:-0} : 0))" 10
    promise "nothing but TCP port 15008" equals "other TCP ${wire[other_tcp]:-?}, other ${wire[other]:-?}" "other TCP 0, other 0"
    promise "every byte of it belongs to a TLS record" equals "${wire[outside]:-?}" 0
    promise "no request, no answer and no identity is readable there" equals "${wire[found]-?}" ""
    stop_tcpdumps
}
