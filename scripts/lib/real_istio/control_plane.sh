# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154
# A control plane of the real programs on node 1: etcd, kube-apiserver, istiod. Nobody runs pods: what a kubelet would say
# of them is written into the API. Expects $bin (where the programs are) and what mesh.sh expects.

api=https://10.71.1.1:6443

kube() { in_pod n1 python3 "$here/lib/real_istio/kube.py" "$api" "$@"; }
apply() { kube apply -; }

# Their own process groups, in node 1's network, working in $run/NAME.
on_node_1() {
    local name=$1
    shift
    mkdir -p "$run/$name"
    in_background "$run/$name.log" nsenter --net="/run/netns/$lab-n1" --wd="$run/$name" -- "$@"
    printf '%s' $! >"$run/$name.pid"
}

start_api() {
    on_node_1 etcd etcd --data-dir data --unsafe-no-fsync --log-level warn
    mkdir -p "$run/api"
    printf 'admin,admin,admin,"system:masters"\n' >"$run/api/tokens"
    openssl genrsa -out "$run/api/accounts.key" 2048 2>/dev/null
    # Without controllers there are no default accounts, and nobody to free what waits for them.
    on_node_1 api "$bin/kube-apiserver" --etcd-servers http://127.0.0.1:2379 --bind-address 10.71.1.1 --secure-port 6443 \
        --advertise-address 10.71.1.1 --endpoint-reconciler-type none --cert-dir certs --authorization-mode AlwaysAllow \
        --token-auth-file tokens --service-account-issuer https://kubernetes.default.svc \
        --service-account-key-file accounts.key --service-account-signing-key-file accounts.key \
        --service-cluster-ip-range 10.96.0.0/16,fd96::/112 --disable-admission-plugins ServiceAccount,TaintNodesByCondition \
        --enable-priority-and-fairness=false --profiling=false
}

api_is_ready() { in_pod n1 curl -sk -f -m 2 -o /dev/null -H 'Authorization: Bearer admin' "$api/readyz"; }

start_real_istiod() {
    cat >"$run/kubeconfig" <<-END
	{"apiVersion": "v1", "kind": "Config", "current-context": "c",
	 "clusters": [{"name": "c", "cluster": {"server": "$api", "insecure-skip-tls-verify": true}}],
	 "users": [{"name": "c", "user": {"token": "admin"}}],
	 "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}]}
	END
    on_node_1 istiod env POD_NAME=istiod-1 POD_NAMESPACE=istio-system SERVICE_ACCOUNT=istiod REVISION=default \
        CLUSTER_ID=Kubernetes PILOT_ENABLE_AMBIENT=true CA_TRUSTED_NODE_ACCOUNTS=istio-system/ztunnel \
        INJECT_ENABLED=false VALIDATION_WEBHOOK_CONFIG_NAME= PILOT_ENABLE_ANALYSIS=false GOMAXPROCS=2 \
        "$bin/pilot-discovery" discovery --kubeconfig "$run/kubeconfig" --httpAddr 127.0.0.1:8080 --grpcAddr '' \
        --secureGRPCAddr 10.71.1.1:15012 --httpsAddr 127.0.0.1:15017 --monitoringAddr 127.0.0.1:15014 \
        --ctrlz_port 0 --keepaliveMaxServerConnectionAge 30m --log_output_level default:info
}

istiod_is_ready() { in_pod n1 curl -s -f -m 2 -o /dev/null http://127.0.0.1:8080/ready; }

# What the DaemonSet mounts: a token of its own pod, and the root from where istiod publishes it.
hand_out_secrets() {
    local node
    for node in 1 2; do kube token istio-system ztunnel "ztunnel-$node" "$run/token-$node" || return; done
    kube get ConfigMap istio-system istio-ca-root-cert 2>/dev/null | jq -e -r '.data["root-cert.pem"]' >"$run/root-cert.pem"
}

# It would take its time, and nothing of it is kept.
end_control_plane() {
    local name
    for name in istiod api etcd; do [[ ! -e $run/$name.pid ]] || kill -KILL "$(<"$run/$name.pid")" 2>/dev/null || true; done
}

end_istiod() {
    local pid
    pid=$(<"$run/istiod.pid")
    kill -KILL "$pid"
    eventually 5 is_gone "$pid"
}
is_gone() { ! kill -0 "$1" 2>/dev/null; }
