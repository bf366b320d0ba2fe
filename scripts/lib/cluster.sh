# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154
# The tour driven by a control plane: istiod on node 1, an agent of Istio's CNI on each node, both played by programs of
# tests/support; the daemons have no file, only ztunnel's environment variables.

istiod_address=10.71.1.1
policy_json='{"name": "not-curl", "namespace": "default", "scope": "NAMESPACE", "action": "DENY",
   "rules": [{"clauses": [{"matches": [{"principals": [{"exact": "cluster.local/ns/default/sa/curl"}]}]}]}]}'

cluster_tour() {
    build_the_cluster || return 0
    wire_filter=(not tcp port 15012) # node 2 talks to istiod, which lives on node 1
    watch_the_wire
    tell_the_mesh
    hand_over_pods
    visit_same_node
    visit_cross_node
    visit_a_name
    visit_the_wire
    visit_a_told_policy
    visit_without_istiod
    take_a_pod_out
}

build_the_cluster() {
    local pod node broken=${#promises_broken[@]}
    heading "istiod, two agents of istio-cni, two nodes, four pods"
    mesh_lab_up
    "$here/lab" list "$lab"
    for pod in httpbin-1 httpbin-2; do start_httpbin "$pod"; done
    start_istiod
    for node in 1 2; do start_agent "$node"; done
    promise "istiod listens on $istiod_address:15012" eventually 20 said "$run/istiod.log" '"listening"'
    for node in 1 2; do start_node_proxy "$node"; done
    for node in 1 2; do promise "culvertd of node $node is ready, and has no pod yet" culvertd_gets_ready "$node"; done
    for pod in httpbin-1 httpbin-2; do
        promise "$pod answers itself on loopback, which is not captured" eventually 20 httpbin_answers "$pod"
    done
    show_log 1 '\tready:|connected to|received response'
    ((${#promises_broken[@]} == broken)) || { say "the tour cannot go on without them"; return 1; }
}

start_istiod() {
    mkdir -p "$run/istiod"
    printf good >"$run/token"
    in_background "$run/istiod.log" nsenter --net="/run/netns/$lab-n1" -- /usr/bin/python3 "$root/tests/support/istiod.py" \
        --home "$run/istiod" --listen "$istiod_address:15012" --token good --orders "$run/istiod.orders"
}

start_agent() {
    mkfifo "$run/cni-$1.orders"
    # Who opens it for both never meets its end.
    # shellcheck disable=SC2016 # expanded there
    in_background "$run/cni-$1.log" nsenter --net="/run/netns/$lab-n$1" -- bash -c 'exec /usr/bin/python3 "$0" "$1" - <>"$2"' \
        "$root/tests/support/istio_cni.py" "$run/cni-$1.sock" "$run/cni-$1.orders"
    promise "the agent of node $1 listens" eventually 10 said "$run/cni-$1.log" listening
}

node_variables() { ambient_variables "$1" "https://$istiod_address:15012" "$run/istiod/root-cert.pem" "$run/token"; }

# ambient_variables NODE ISTIOD ROOT TOKEN: as the DaemonSet of manifests/kubernetes sets them.
ambient_variables() {
    local kind
    for kind in XDS CA; do
        printf '%s\n' "${kind}_ADDRESS=$2" "${kind}_ROOT_CA=$3" "ALT_${kind}_HOSTNAME=istiod.istio-system.svc"
    done
    printf '%s\n' "AUTH_TOKEN=$4" "INPOD_UDS=$run/cni-$1.sock" "NODE_NAME=$lab-n$1" "POD_NAME=ztunnel-$1" \
        POD_NAMESPACE=istio-system SERVICE_ACCOUNT=ztunnel "INSTANCE_IP=10.71.$1.1" ISTIO_META_CLUSTER_ID=Kubernetes \
        ZTUNNEL_WORKER_THREADS=2
}

start_node_proxy() {
    local -a variables
    mapfile -t variables < <(node_variables "$1")
    say "   node $1: env ${variables[0]} INPOD_UDS=... NODE_NAME=$lab-n$1 ... culvertd"
    # shellcheck disable=SC2016 # expanded there
    in_background "$run/n$1.log" nsenter --net="/run/netns/$lab-n$1" -- env "${variables[@]}" bash -c \
        'exec "$0" >>"$1"' "$culvertd" "$run/n$1.access.log"
    printf '%s' $! >"$run/n$1.pid"
}

said() { grep -qsE -- "$2" "$1"; }

# show_log NODE REGEX: what its daemon has said of it so far.
show_log() { grep -E -- "$2" "$run/n$1.log" | sed "s/^/   node $1: /" || true; }

# istiod JSON: an order to it, which it carries out.
istiod() {
    local before
    before=$(grep -c '"event": "done"' "$run/istiod.log" || true)
    printf '%s\n' "${1//$'\n'/ }" >"$run/istiod.orders"
    eventually 10 istiod_has_done "$before"
}

istiod_has_done() { (($(grep -c '"event": "done"' "$run/istiod.log" || true) > $1)); }

workload_json() {
    local pod=$1 services='{}'
    [[ $(app_of "$pod") == httpbin ]] &&
        services='{"default/httpbin.default.svc.cluster.local": {"ports": [{"service_port": 80, "target_port": 8000}]}}'
    cat <<-END
	{"workload": {"uid": "Kubernetes//Pod/default/$pod", "name": "$pod", "namespace": "default",
	 "service_account": "$(app_of "$pod")", "addresses": ["$(ip4_of "$pod")", "$(ip6_of "$pod")"], "tunnel_protocol": "HBONE",
	 "node": "$lab-n$(node_of "$pod")", "cluster_id": "Kubernetes", "services": $services}}
	END
}

mesh_json() {
    local pod
    for pod in "${mesh_pods[@]}"; do
        workload_json "$pod"
        printf ', '
    done
    cat <<-END
	{"service": {"name": "httpbin", "namespace": "default", "hostname": "httpbin.default.svc.cluster.local",
	 "addresses": [{"address": "$vip4"}, {"address": "$vip6"}], "ports": [{"service_port": 80, "target_port": 8000}]}}
	END
}

tell_the_mesh() {
    heading "istiod tells of the pods and their service"
    promise "istiod has them" istiod "{\"do\": \"put\", \"addresses\": [$(mesh_json)]}"
    promise "both nodes have heard" eventually 5 both_said 'received response.*istio.workload.Address.*size=5'
    show_log 1 'received response.*size=5'
}

both_said() { said "$run/n1.log" "$1" && said "$run/n2.log" "$1"; }

hand_over() {
    printf 'add uid-of-%s %s default %s %s\n' "$1" "$1" "$(app_of "$1")" "/run/netns/$lab-$1" >"$run/cni-$(node_of "$1").orders"
}

hand_over_pods() {
    local pod
    heading "the namespace joins: istio-cni hands over its pods while they run"
    for pod in "${mesh_pods[@]}"; do hand_over "$pod"; done
    for pod in "${mesh_pods[@]}"; do
        promise "$pod is in the mesh" eventually 10 said "$run/n$(node_of "$pod").log" "pod default/$pod .* is in the mesh as"
        promise "and the agent was told so" eventually 5 said "$run/cni-$(node_of "$pod").log" "add uid-of-$pod: ok"
    done
    show_log 1 'received netns|is captured|is in the mesh'
    for pod in httpbin-1 httpbin-2; do promise "$pod has its certificate" eventually 10 has_certificate "$pod"; done
    say "   node 1: what istioctl ztunnel-config reads, from http://127.0.0.1:15000/config_dump"
    config_dump >"$run/config_dump.json" || true
    jq -r '"      \(.workloads | length) workloads, \(.services | length) services, certificates: \([.certificates[].identity] | join(" "))"' \
        "$run/config_dump.json" || true
    promise "istioctl finds workloads, service and certificates there" equals \
        "$(jq -c '[(.workloads | length), (.services | length), (.certificates | length)]' "$run/config_dump.json")" '[4,1,2]'
}

config_dump() { in_pod n1 curl -sS -m 5 http://127.0.0.1:15000/config_dump; }

# A certificate is asked for when its pod joins; who comes before it waits.
has_certificate() {
    in_pod "n$(node_of "$1")" curl -sS -m 2 http://127.0.0.1:15020/metrics 2>/dev/null |
        grep -q "^culvert_certificate_expiry_timestamp_seconds{identity=\"$(identity_of "$1")\"}"
}

# The pod's own resolv.conf names a server that nobody is: who answers is the node.
visit_a_name() {
    local name=httpbin.default.svc.cluster.local
    heading "a service by its name: the pod's question is answered by its node"
    printf 'nameserver 10.96.0.10\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions timeout:2 attempts:1\n' \
        >"$run/resolv.conf"
    say "   curl-1\$ curl -4 http://httpbin/ip"
    # shellcheck disable=SC2016 # expanded there
    status=$(in_pod curl-1 unshare --mount bash -c 'mount --bind "$0" /etc/resolv.conf && exec curl "$@"' "$run/resolv.conf" \
        -4 -sS -m 5 -o "$run/curl.out" -w '%{http_code}' http://httpbin/ip 2>"$run/curl.err") || say "      $(<"$run/curl.err")"
    promise "by the name httpbin: 200" equals "$status" 200
    promise "httpbin sees the client's own address" equals "$(origin)" "$(ip4_of curl-1)"
    say "   $(in_pod n1 curl -sS http://127.0.0.1:15020/metrics | grep -m 1 '^istio_dns_requests_total')"
    promise "node 1 has counted the question for $name" eventually 2 dns_was_counted
}

dns_was_counted() { in_pod n1 curl -sS http://127.0.0.1:15020/metrics | grep -q '^istio_dns_requests_total{.*} [1-9]'; }

visit_a_told_policy() {
    local url
    url=http://$(ip4_of httpbin-2):8000/ip
    heading "who may talk to whom: an AuthorizationPolicy arrives by xDS"
    say "   ${policy_json//$'\n'/$'\n'   }"
    promise "istiod has it" istiod "{\"do\": \"put\", \"authorizations\": [$policy_json]}"
    promise "both nodes have heard" eventually 5 both_said 'received response.*istio.security.Authorization.*size=1'
    call curl-1 "$url"
    promise "the next call gets no answer" equals "$status" 000
    show_refusal
    explain_refusal
    promise "it is taken back" istiod '{"do": "remove", "names": ["default/not-curl"]}'
    promise "both nodes have heard" eventually 5 both_said 'received response.*istio.security.Authorization.*removes=1'
    call curl-1 "$url"
    promise "without the policy: 200" equals "$status" 200
}

visit_without_istiod() {
    heading "istiod goes away, and comes back"
    promise "it is gone" istiod '{"do": "away"}'
    promise "node 1 says so, and what to do" eventually 10 said "$run/n1.log" 'xds.*(away|refused|unavailable|again)'
    show_log 1 '(warn|error).*xds' | tail -n 1
    call curl-1 "http://$vip4/ip"
    promise "calls go on: 200" equals "$status" 200
    promise "the node stays ready" culvertd_is_ready 1
    promise "it is back" istiod '{"do": "back"}'
    promise "node 1 has found it again" eventually 20 said "$run/n1.log" 'connected to .* \(connection ([2-9]|[1-9][0-9]+)\)'
    show_log 1 'connected to' | tail -n 1
}

take_a_pod_out() {
    heading "a pod leaves the mesh"
    printf 'del uid-of-httpbin-1\n' >"$run/cni-1.orders"
    promise "httpbin-1 has left" eventually 15 said "$run/n1.log" 'pod default/httpbin-1 .* has left the mesh'
    promise "nothing of us is in it any more" eventually 5 equals_rules httpbin-1
    promise "the others stay" eventually 2 still_has_curl_1
}

equals_rules() { equals "$(ip_rules "$1")" 0; }
still_has_curl_1() { "${culvertd%/*}/culvertctl" --node "$lab-n1" pods 2>/dev/null | grep -q curl-1; }
