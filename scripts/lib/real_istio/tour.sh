# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154
# What is tried against the real control plane, station by station, with the demo's calls.

certificate_ttl=60s

real_tour() {
    local node pod broken=${#promises_broken[@]}
    heading "etcd, kube-apiserver and istiod on node 1"
    mesh_lab_up
    for pod in httpbin-1 httpbin-2; do start_httpbin "$pod"; done
    start_api
    promise "the API is ready" eventually 90 api_is_ready
    promise "it has Istio's kinds" kube apply "$bin/crd-all.gen.yaml"
    promise "and nodes, accounts, pods, the service" eventually 20 apply_all
    start_real_istiod
    promise "istiod is ready" eventually 90 istiod_is_ready
    promise "it publishes its root, the API gives each node's pod a token" eventually 30 hand_out_secrets
    for pod in "${mesh_pods[@]}"; do start_pause "$pod"; done
    for node in 1 2; do start_cni_agent "$node"; done
    for node in 1 2; do start_node_proxy "$node"; done
    for node in 1 2; do promise "culvertd of node $node is ready" culvertd_gets_ready "$node"; done
    show_log 1 '\tready:|connected to|received response'
    ((${#promises_broken[@]} == broken)) || { say "the tour cannot go on without them"; return 0; }
    enrol_pods
    ((${#promises_broken[@]} == broken)) || { say "the tour cannot go on without them"; return 0; }
    wire_filter=(not tcp port 15012 and not tcp port 6443) # node 2 talks to istiod and the API, which live on node 1
    watch_the_wire
    visit_same_node
    visit_cross_node
    visit_a_name
    visit_the_wire
    visit_own_metrics
    visit_an_authorization
    visit_strict
    visit_renewal
    visit_restart
    roll_a_daemon
    visit_istioctl
    leave_the_mesh
    istiod_is_content
}

apply_all() { { basic_objects; mesh_objects; } | apply 2>"$run/kube.err" || { why=$(<"$run/kube.err"); return 1; }; }

# In the place of cluster.sh's: the real control plane's addresses and secrets, and certificates that are soon renewed.
node_variables() {
    ambient_variables "$1" https://10.71.1.1:15012 "$run/root-cert.pem" "$run/token-$1"
    printf '%s\n' ISTIO_META_ISTIO_VERSION=1.0.0 "SECRET_TTL=$certificate_ttl"
}

enrol_pods() {
    local pod
    heading "the namespace joins: the agents see its label, and hand over its pods"
    promise "it is labelled" kube patch Namespace '' default '{"metadata": {"labels": {"istio.io/dataplane-mode": "ambient"}}}'
    for pod in "${mesh_pods[@]}"; do
        promise "$pod is in the mesh" eventually 20 said "$run/n$(node_of "$pod").log" "pod default/$pod .* is in the mesh as"
        promise "and its agent was told so" eventually 10 is_annotated "$pod"
    done
    show_log 1 'received netns|is captured|is in the mesh'
    for pod in httpbin-1 httpbin-2; do promise "$pod has its certificate" eventually 10 has_certificate "$pod"; done
    promise "istiod tells both nodes that all four speak HBONE" eventually 10 all_speak_hbone
}

is_annotated() {
    equals "$(kube get Pod default "$1" | jq -r '.metadata.annotations["ambient.istio.io/redirection"]')" enabled
}

all_speak_hbone() {
    local node
    for node in 1 2; do
        equals "$(dump "$node" | jq '[.workloads[] | select(.namespace == "default" and .protocol == "HBONE")] | length')" 4 || return
    done
}

dump() { in_pod "n$1" curl -sS -m 5 http://127.0.0.1:15000/config_dump; }

visit_own_metrics() {
    heading "a daemon is called as a pod is: its metrics, through the mesh"
    call curl-1 http://10.71.2.1:15020/metrics
    promise "200" equals "$status" 200
    say "   inbound,  node 2: $(access_line "$run/n2.access.log" "$seen2" 'direction="inbound"' 'dst.workload="ztunnel-2"')"
    promise "node 2 took it from a tunnel" equals "$(tail -n +$((seen2 + 1)) "$run/n2.access.log" | grep -c 'dst.addr=10.71.2.1:15008 dst.hbone_addr=10.71.2.1:15020')" 1
}

visit_an_authorization() {
    local url
    url=http://$(ip4_of httpbin-2):8000/ip
    heading "an AuthorizationPolicy is applied"
    promise "it is" apply < <(policy not-curl '{"action": "DENY", "rules": [{"from": [{"source": {"principals": ["cluster.local/ns/default/sa/curl"]}}]}]}')
    promise "node 2 has heard" eventually 10 said "$run/n2.log" 'received response.*istio.security.Authorization.*size=1'
    call curl-1 "$url"
    promise "the next call gets no answer" equals "$status" 000
    show_refusal
    explain_refusal
    promise "it is deleted" kube delete AuthorizationPolicy default not-curl
    promise "node 2 has heard" eventually 10 said "$run/n2.log" 'received response.*istio.security.Authorization.*removes=1'
    call curl-1 "$url"
    promise "without it: 200" equals "$status" 200
}

# Node 2 itself is no part of the mesh: to httpbin-1 it is a stranger.
visit_strict() {
    heading "a PeerAuthentication: STRICT"
    promise "plaintext from outside comes through: 200" equals "$(stranger)" 200
    promise "it is applied" apply <<-END
	apiVersion: security.istio.io/v1
	kind: PeerAuthentication
	metadata: {name: strict, namespace: default}
	spec: {mtls: {mode: STRICT}}
	END
    promise "plaintext from outside is refused" eventually 10 stranger_is_refused
    call curl-2 "http://$(ip4_of httpbin-1):8000/ip"
    promise "the mesh goes on: 200" equals "$status" 200
    promise "it is deleted" kube delete PeerAuthentication default strict
    promise "plaintext from outside comes through" eventually 10 stranger_comes_through
}

stranger() { in_pod n2 curl -sS -m 5 -o /dev/null -w '%{http_code}' "http://$(ip4_of httpbin-1):8000/ip" 2>/dev/null || true; }
stranger_is_refused() { equals "$(stranger)" 000; }
stranger_comes_through() { equals "$(stranger)" 200; }

leave_the_mesh() {
    heading "the namespace leaves"
    promise "it has no label" kube patch Namespace '' default '{"metadata": {"labels": {"istio.io/dataplane-mode": null}}}'
    for pod in "${mesh_pods[@]}"; do
        promise "$pod has left" eventually 20 said "$run/n$(node_of "$pod").log" "pod default/$pod .* has left the mesh"
        promise "nothing is left in it" eventually 10 has_no_rules "$pod"
    done
    call curl-1 "http://$(ip4_of httpbin-2):8000/ip"
    promise "without a mesh: 200" equals "$status" 200
}
has_no_rules() { equals "$(ip_rules "$1")" 0; }

serial_of() { dump "$1" | jq -r --arg identity "$2" '.certificates[] | select(.identity == $identity) | .certChain[0].serialNumber'; }

visit_renewal() {
    local before
    heading "certificates of $certificate_ttl are renewed"
    before=$(serial_of 2 "$(identity_of httpbin-2)")
    promise "httpbin-2 gets another one" eventually 60 has_another_serial "$before"
    say "   serial $before, then $(serial_of 2 "$(identity_of httpbin-2)")"
    call curl-1 "http://$(ip4_of httpbin-2):8000/ip"
    promise "and is called: 200" equals "$status" 200
    say_identities 2
}
has_another_serial() { [[ $(serial_of 2 "$(identity_of httpbin-2)") != "$1" ]]; }

visit_restart() {
    heading "istiod is killed, and started again"
    promise "it is gone" end_istiod
    promise "node 2 says so" eventually 15 said "$run/n2.log" 'xds.*(refused|failed|away)'
    call curl-1 "http://$vip4/ip"
    promise "calls go on: 200" equals "$status" 200
    start_real_istiod
    promise "istiod is ready" eventually 90 istiod_is_ready
    for node in 1 2; do
        promise "node $node has found it again" eventually 30 said "$run/n$node.log" \
            'connected to .* \(connection ([2-9]|[1-9][0-9]+)\)'
    done
    promise "nothing was taken away meanwhile" all_speak_hbone
    promise "a policy that is applied now arrives" apply < <(policy nobody '{}')
    promise "and refuses" eventually 10 curl_is_refused
    promise "it is deleted" kube delete AuthorizationPolicy default nobody
    promise "and no longer does" eventually 10 curl_comes_through
}
curl_is_refused() { call curl-1 "http://$(ip4_of httpbin-2):8000/ip" >/dev/null; equals "$status" 000; }
curl_comes_through() { call curl-1 "http://$(ip4_of httpbin-2):8000/ip" >/dev/null; equals "$status" 200; }

roll_a_daemon() {
    local old
    heading "node 1 gets another daemon, as when a DaemonSet is rolled"
    old=$(<"$run/n1.pid")
    start_node_proxy 1
    promise "it takes the pods over" eventually 20 said "$run/n1.log" 'another culvertd has taken over'
    call curl-1 "http://$vip4/ip"
    promise "calls go on: 200" equals "$status" 200
    kill -TERM "$old"
    promise "the old one ends when it is told to" eventually 20 is_gone "$old"
    promise "the new one is ready" eventually 10 culvertd_is_ready 1
    call curl-1 "http://$vip4/ip"
    promise "calls go on: 200" equals "$status" 200
}

visit_istioctl() {
    local verb
    heading "istioctl ztunnel-config, on what node 1 dumps while a connection is open"
    promise "a policy is applied" apply < <(policy only-curl "$(allow_curl)")
    promise "node 1 has heard" eventually 10 has_policies 1
    hold_call curl-1 "http://$(ip4_of httpbin-2):8000/drip?numbytes=9&duration=4&delay=0"
    promise "a call runs" eventually 3 is_being_answered curl-1
    dump 1 >"$run/dump.json"
    for verb in workloads services policies certificates connections all; do
        promise "$verb" reads_dump "$verb"
        sed 's/^/   /' "$run/istioctl.out"
    done
}
allow_curl() { printf '{"rules": [{"from": [{"source": {"principals": ["cluster.local/ns/default/sa/curl"]}}]}]}'; }
has_policies() { equals "$(dump 1 | jq '.policies | length')" "$1"; }
reads_dump() {
    "$bin/istioctl" ztunnel-config "$1" -f "$run/dump.json" >"$run/istioctl.out" 2>&1 || { why=$(tail -n 1 "$run/istioctl.out"); return 1; }
    at_least "$(wc -l <"$run/istioctl.out")" 2
}

istiod_is_content() {
    heading "what istiod says of us"
    in_pod n1 curl -s -m 5 http://127.0.0.1:8080/debug/syncz | jq -c '.[]?' | sed 's/^/   /' || true
    promise "both nodes are in step with it" eventually 5 is_in_step
    promise "it was refused nothing" equals "$(in_pod n1 curl -s -m 5 http://127.0.0.1:15014/metrics | grep -c '^pilot_total_xds_rejects' || true)" 0
    promise "it has warned of nothing" equals "$(grep -E 'warn|error' "$run/istiod.log" | grep -F ztunnel- || true)" ''
}

# Of both kinds, what was sent last is what was taken last.
is_in_step() {
    equals "$(in_pod n1 curl -s -m 5 http://127.0.0.1:8080/debug/syncz | jq '[.[].resources[] | select(.sent == .acked)] | length')" 4
}
