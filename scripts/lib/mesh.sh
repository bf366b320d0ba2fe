# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154
# The demo's mesh: two nodes with a culvertd each, httpbin in two replicas, a client pod on each node.
#
#   node 1: curl-1 10.71.1.10, httpbin-1 10.71.1.20        service httpbin: 10.96.0.80:80 and [fd96::80]:80 -> 8000
#   node 2: curl-2 10.71.2.10, httpbin-2 10.71.2.20
#
# Expects: $lab (the lab's name), $run (its directory under /run), $culvertd (the binary), $here (scripts/), $capture.

vip4=10.96.0.80
vip6=fd96::80
mesh_pods=(curl-1 httpbin-1 curl-2 httpbin-2)

node_of() { printf '%s' "${1##*-}"; }
app_of() { printf '%s' "${1%-*}"; }
index_of() { if [[ $1 == curl-* ]]; then echo 10; else echo 20; fi; }
ip4_of() { printf '10.71.%s.%s' "$(node_of "$1")" "$(index_of "$1")"; }
ip6_of() { printf 'fd71:0:0:%s::%s' "$(node_of "$1")" "$(index_of "$1")"; }
identity_of() { printf 'spiffe://cluster.local/ns/default/sa/%s' "$(app_of "$1")"; }

in_pod() {
    local pod=$1
    shift
    nsenter --net="/run/netns/$lab-$pod" -- "$@"
}

mesh_lab_up() {
    local pod
    "$here/lab" up "$lab"
    for pod in "${mesh_pods[@]}"; do
        "$here/lab" pod "$lab" "$(node_of "$pod")" "$pod" "$(index_of "$pod")"
    done
}

workload_yaml() {
    local pod=$1 services='{}'
    [[ $(app_of "$pod") == httpbin ]] && services='{"default/httpbin.default.svc.cluster.local": {80: 8000}}'
    cat <<-END
	- uid: "Kubernetes//Pod/default/$pod"
	  name: $pod
	  namespace: default
	  serviceAccount: $(app_of "$pod")
	  trustDomain: cluster.local
	  clusterId: Kubernetes
	  workloadIps: ["$(ip4_of "$pod")", "$(ip6_of "$pod")"]
	  protocol: HBONE
	  node: $lab-n$(node_of "$pod")
	  services: $services
	END
}

node_yaml() {
    local node=$1 pod
    cat <<-END
	node: {name: $lab-n$node, clusterId: Kubernetes, trustDomain: cluster.local}
	capture: $capture
	ca: {directory: $run/ca}
	log: {level: info, access: $run/n$node.access.log}
	workers: 2
	limits: {maxFlows: 256}
	pods:
	END
    for pod in "${mesh_pods[@]}"; do
        [[ $(node_of "$pod") == "$node" ]] || continue
        printf -- '- {uid: "Kubernetes//Pod/default/%s", name: %s, namespace: default, serviceAccount: %s, netns: %s}\n' \
            "$pod" "$pod" "$(app_of "$pod")" "/run/netns/$lab-$pod"
    done
    printf 'workloads:\n'
    for pod in "${mesh_pods[@]}"; do workload_yaml "$pod"; done
    cat <<-END
	services:
	- name: httpbin
	  namespace: default
	  hostname: httpbin.default.svc.cluster.local
	  vips: ["/$vip4", "/$vip6"]
	  ports: {80: 8000}
	END
}

# Detached from us in every way, so that --keep can keep it.
in_background() {
    local log=$1
    shift
    setsid "$@" >>"$log" 2>&1 </dev/null 9>&- &
    disown $!
}

start_culvertd() {
    node_yaml "$1" >"$run/n$1.yaml"
    # Its last words are not those of one before it.
    mv -f "$run/n$1.log" "$run/n$1.log.before" 2>/dev/null || true
    in_background "$run/n$1.log" nsenter --net="/run/netns/$lab-n$1" -- "$culvertd" --config "$run/n$1.yaml"
    printf '%s' $! >"$run/n$1.pid"
}

# One process per address family would do; each address is named so that nothing of the app hides behind [::].
start_httpbin() {
    in_background "$run/$1.log" nsenter --net="/run/netns/$lab-$1" -- /usr/bin/gunicorn --threads 8 --chdir / \
        --bind "$(ip4_of "$1"):8000" --bind "[$(ip6_of "$1")]:8000" --bind 127.0.0.1:8000 httpbin:app
}

# Not only not yet: a daemon that has ended will never be.
culvertd_is_ready() {
    [[ $(in_pod "n$1" curl -sS -o "$run/curl.out" -w '%{http_code}' -m 2 http://127.0.0.1:15021/healthz/ready 2>&1) == 200 ]]
}

culvertd_gets_ready() {
    local until=$((SECONDS + 20)) pid
    pid=$(<"$run/n$1.pid")
    until culvertd_is_ready "$1"; do
        kill -0 "$pid" 2>/dev/null || { why="it has ended, $(last_words "$1")"; return 1; }
        ((SECONDS < until)) || { why="not after 20 s, $(last_words "$1")"; return 1; }
        sleep 0.1
    done
}

last_words() {
    local words
    words=$(tail -n 1 "$run/n$1.log" 2>/dev/null || true)
    printf '%s' "${words:-and has said nothing}"
}

httpbin_answers() { in_pod "$1" curl -sS -f -o "$run/curl.out" -m 2 http://127.0.0.1:8000/status/200 2>/dev/null; }

pins_of() { printf '/sys/fs/bpf/culvert/%s-n%s' "$lab" "$1"; }

# Removes every trace, of a run that crashed half-way too: daemons, what they pinned, namespaces, files.
mesh_down() {
    local node pid
    local -a sets
    mapfile -t sets < <(probe_sets)
    for node in 1 2; do
        [[ -e /run/netns/$lab-n$node ]] || continue
        for pid in $(ip netns pids "$lab-n$node"); do kill -TERM "$pid" 2>/dev/null || true; done
    done
    for node in 1 2; do
        [[ -e /run/netns/$lab-n$node ]] || continue
        eventually 8 node_is_quiet "$node" || aside "   node $node does not end by itself"
        [[ ! -x $culvertd ]] || "$culvertd" cleanup "$lab-n$node" >>"$run/cleanup.log" 2>&1 9>&- ||
            say "   culvertd cleanup $lab-n$node failed: $(tail -n 1 "$run/cleanup.log")"
    done
    "$here/lab" down "$lab"
    # What is left here when there is no binary to ask: unpinning ends programs, links and maps.
    rm -rf -- "$(pins_of 1)" "$(pins_of 2)" /run/culvert/"$lab"-n? "${sets[@]}" "$run"
    rmdir /run/culvert 2>/dev/null || true
}

# The files that say whose the probes' ipsets are; the nodes' namespaces are named in the records of their pods.
probe_sets() {
    cat /run/culvert/"$lab"-n?/iptables/* 2>/dev/null |
        awk '$1 == "node" {print "/run/culvert/probes-" $3 "-v4\n/run/culvert/probes-" $3 "-v6"}' |
        sort -u
}

node_is_quiet() { [[ ! $(ip netns pids "$lab-n$1") ]]; }

nothing_is_left() {
    local left
    left=$(compgen -G "/run/netns/$lab-*" || true; compgen -G "/sys/fs/bpf/culvert/$lab-*" || true; compgen -G "$run" || true
        compgen -G "/run/culvert/$lab-*" || true
        pgrep -f -- "--config $run/" || true)
    why=${left//$'\n'/ }
    [[ ! $left ]]
}

show_around() {
    local pod
    say "It goes on, with capture: $capture. A shell in a pod:"
    for pod in "${mesh_pods[@]}"; do say "   scripts/lab exec $lab $pod bash"; done
    say "Try there: curl http://$vip4/get      Logs and configurations: $run"
    say "Look from here: bpftool map dump pinned $(pins_of 1)/cv_pods"
    say "End it: scripts/demo --down"
}
