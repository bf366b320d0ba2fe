# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154
# Istio's own CNI agent, one a node. It looks for pods in the API, and for their netns among the processes of the machine, by
# the names of their cgroups; so each pod gets a process in a cgroup with such a name.

cgroups=$(findmnt -n -t cgroup2 -o TARGET | head -n 1)/kubepods-$lab
ambient_pods='[{podSelector: {matchExpressions: [{key: istio.io/dataplane-mode, operator: NotIn, values: [none]}]},
  namespaceSelector: {matchLabels: {istio.io/dataplane-mode: ambient}}}]'
declare -A pauses # pod: process

# What it takes for the machine under /host: as processes the node's pods, and as the first of all one of the node itself.
# shellcheck disable=SC2016 # expanded there
inside_the_agent='
    set -e
    mount -t tmpfs none /mnt
    mkdir -p /mnt/etc/cni/net.d /mnt/opt/cni/bin /mnt/run /mnt/proc/1
    mount --bind /proc/$$ /mnt/proc/1
    for pid in $pauses; do
        mkdir "/mnt/proc/$pid"
        mount --bind "/proc/$pid" "/mnt/proc/$pid"
    done
    mount --rbind /mnt /host
    for own in /opt /var; do mount -t tmpfs none "$own"; done
    mkdir -p /opt/cni/bin /var/run/secrets/kubernetes.io/serviceaccount
    printf admin >/var/run/secrets/kubernetes.io/serviceaccount/token
    exec "$0" --ctrlz_port 0 --log_output_level default:info'

start_cni_agent() {
    local pod all=''
    [[ -e /host ]] || mkdir -m 700 /host # only to mount at; see leave_host
    for pod in "${mesh_pods[@]}"; do [[ $(node_of "$pod") != "$1" ]] || all+=" ${pauses[$pod]}"; done
    in_background "$run/cni-$1.log" nsenter --net="/run/netns/$lab-n$1" -- env KUBECONFIG="$run/kubeconfig" \
        KUBERNETES_SERVICE_HOST=10.71.1.1 KUBERNETES_SERVICE_PORT=6443 SKIP_TLS_VERIFY=true NODE_NAME="$lab-n$1" POD_NAMESPACE=istio-system POD_NAME=istio-cni REPAIR_ENABLED=false AMBIENT_ENABLED=true \
        AMBIENT_ENABLEMENT_SELECTOR="$ambient_pods" AMBIENT_DNS_CAPTURE=true AMBIENT_IPV6=true \
        ZTUNNEL_UDS_ADDRESS="$run/cni-$1.sock" CNI_AGENT_RUN_DIR=/host/run MONITORING_PORT=15114 LOG_LEVEL=info \
        pauses="$all" unshare --mount --propagation private bash -c "$inside_the_agent" "$bin/install-cni"
}

# Of a pod that the API knows.
start_pause() {
    local uid cgroup
    uid=$(kube get Pod default "$1" | jq -r .metadata.uid)
    cgroup=$cgroups/pod$uid/$(sha256sum <<<"$uid" | head -c 64)
    mkdir -p "$cgroup"
    # shellcheck disable=SC2016 # expanded there
    in_background "$run/pause.log" nsenter --net="/run/netns/$lab-$1" -- bash -c 'echo $$ >"$0/cgroup.procs" && exec sleep 3600' "$cgroup"
    pauses[$1]=$!
}

# Whatever else there may be in it stays.
leave_host() { rmdir /host 2>/dev/null || true; }

remove_cgroups() { [[ ! -d $cgroups ]] || find "$cgroups" -depth -type d -exec rmdir {} + 2>/dev/null || true; }
