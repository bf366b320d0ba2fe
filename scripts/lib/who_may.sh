# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154
# A station of the demo: a policy is written into the file of a node while curl talks to one of its pods.

policy_name=default/not-curl
policy_yaml='policies:
- {name: not-curl, namespace: default, scope: Namespace, action: Deny, dryRun: false,
   rules: [[[{principals: [!Exact cluster.local/ns/default/sa/curl]}]]]}'
policy_refusal="connection closed due to policy rejection: explicitly denied by: $policy_name"

visit_policies() {
    local url
    url=http://$(ip4_of httpbin-2):8000/ip
    heading "who may talk to whom: a policy is written into node 2's file while curl runs"
    hold_call curl-1 "http://$(ip4_of httpbin-2):8000/drip?numbytes=9&duration=8&delay=0"
    seen2=$(access_count "$run/n2.access.log")
    say "   curl-1\$ curl http://$(ip4_of httpbin-2):8000/drip?duration=8 &"
    promise "the call runs" eventually 3 is_being_answered curl-1
    say "   cat >>n2.yaml"
    say "      ${policy_yaml//$'\n'/$'\n'      }"
    rewrite_file 2 "$policy_yaml"
    promise "the call that ran is ended" eventually 3 held_has_ended
    say "   inbound,  node 2: $(access_line "$run/n2.access.log" "$seen2" 'direction="inbound"' 'due to policy change')"
    call curl-1 "$url"
    promise "the next call gets no answer" equals "$status" 000
    show_refusal
    explain_refusal
    rewrite_file 2 ''
    call curl-1 "$url"
    promise "without the policy: 200" equals "$status" 200
}

# The node's file with so much more, put in its place as editors do; waits until the daemon has read it.
rewrite_file() {
    local before
    before=$(grep -c ' applied: ' "$run/n$1.log" || true)
    { node_yaml "$1"; printf '%s\n' "$2"; } >"$run/n$1.yaml.new"
    mv -f "$run/n$1.yaml.new" "$run/n$1.yaml"
    promise "the daemon of node $1 has applied its file" eventually 5 applied_since "$1" "$before"
}

applied_since() { (($(grep -c ' applied: ' "$run/n$1.log" || true) > $2)); }

held_has_ended() { ! kill -0 "$held" 2>/dev/null; }

# Some of an answer has come to an app of this pod, and it is not over.
is_being_answered() { in_pod "$1" ss -Htin state established '( dport = :8000 )' | grep -q 'bytes_received:[1-9]'; }

# Both sides' lines of a call from curl-1 that node 2 refused.
show_refusal() {
    local outbound inbound
    outbound=$(access_line "$run/n1.access.log" "$seen1" 'direction="outbound"' 'dst.workload="httpbin-2"')
    inbound=$(access_line "$run/n2.access.log" "$seen2" 'direction="inbound"' 'policy rejection')
    say "   outbound, node 1: ${outbound:-(none)}"
    say "   inbound,  node 2: ${inbound:-(none)}"
    expected_fields curl-1 httpbin-2 "" 4
    promise "node 1's line says that the other side refused it" access_line_is "$outbound" error "${expected[@]}" \
        direction=outbound 'bytes_sent=[0-9]+' 'bytes_recv=[0-9]+' 'duration=[0-9]+ms' 'error=http status: 401 Unauthorized'
    expected_fields curl-1 httpbin-2 httpbin.default.svc.cluster.local 4
    promise "node 2's line names the policy" access_line_is "$inbound" error "${expected[@]}" \
        direction=inbound 'bytes_sent=0' 'bytes_recv=0' 'duration=[0-9]+ms' "error=$policy_refusal"
}

# In the words of the node that decides. culvertctl is built beside culvertd.
explain_refusal() {
    local said ctl=${culvertd%/*}/culvertctl
    if ! "$ctl" explain --help &>/dev/null; then
        aside "   $ctl cannot explain it"
        return
    fi
    said=$("$ctl" --node "$lab-n2" explain default/curl-1 default/httpbin-2 8000 2>&1 || true)
    say "   culvertctl --node $lab-n2 explain default/curl-1 default/httpbin-2 8000"
    say "      ${said//$'\n'/$'\n'      }"
    promise "culvertctl says which rule of which policy did it" contains "$said" \
        "no, denied by $policy_name, rules[0]: principals: [!Exact cluster.local/ns/default/sa/curl]"
}

contains() {
    [[ $1 == *"$2"* ]] && return
    why="'$2' is not in it"
    return 1
}
