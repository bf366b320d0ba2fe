# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154
# What a cluster would have in its API for the demo's mesh: nodes, accounts, pods, the service. As YAML, on standard output.

basic_objects() {
    local namespace account node
    for namespace in istio-system default; do
        printf -- '---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: %s\n' "$namespace"
    done
    for account in istio-system/istiod istio-system/ztunnel default/curl default/httpbin; do
        printf -- '---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: %s, namespace: %s}\n' "${account#*/}" "${account%/*}"
    done
    for node in 1 2; do
        cat <<-END
		---
		apiVersion: v1
		kind: Node
		metadata:
		  name: $lab-n$node
		  labels: {kubernetes.io/hostname: $lab-n$node, topology.kubernetes.io/region: region-1, topology.kubernetes.io/zone: zone-$node}
		status:
		  addresses: [{type: InternalIP, address: 10.71.$node.1}]
		END
        pod_object istio-system "ztunnel-$node" ztunnel "$node" "10.71.$node.1" "fd71:0:0:$node::1" \
            '{app: ztunnel, istio.io/dataplane-mode: none, networking.istio.io/tunnel: http}'
    done
    cat <<-END
	---
	apiVersion: v1
	kind: ConfigMap
	metadata: {name: istio, namespace: istio-system}
	data:
	  mesh: |
	    trustDomain: cluster.local
	    rootNamespace: istio-system
	    defaultConfig: {proxyMetadata: {ISTIO_META_ENABLE_HBONE: "true"}}
	---
	apiVersion: v1
	kind: Service
	metadata: {name: httpbin, namespace: default}
	spec:
	  clusterIP: $vip4
	  clusterIPs: ["$vip4", "$vip6"]
	  ipFamilyPolicy: RequireDualStack
	  ipFamilies: [IPv4, IPv6]
	  selector: {app: httpbin}
	  ports: [{name: http, port: 80, targetPort: 8000, protocol: TCP}]
	END
}

mesh_objects() {
    local pod
    for pod in "${mesh_pods[@]}"; do
        pod_object default "$pod" "$(app_of "$pod")" "$(node_of "$pod")" "$(ip4_of "$pod")" "$(ip6_of "$pod")" \
            "{app: $(app_of "$pod")}"
    done
}

# pod_object NAMESPACE NAME ACCOUNT NODE IPV4 IPV6 LABELS: running and ready.
pod_object() {
    cat <<-END
	---
	apiVersion: v1
	kind: Pod
	metadata:
	  name: $2
	  namespace: $1
	  labels: $7
	spec:
	  nodeName: $lab-n$4
	  serviceAccountName: $3
	  containers: [{name: app, image: "example.invalid/app:1"}]
	status:
	  phase: Running
	  hostIP: 10.71.$4.1
	  hostIPs: [{ip: 10.71.$4.1}]
	  podIP: "$5"
	  podIPs: [{ip: "$5"}, {ip: "$6"}]
	  conditions:
	  - {type: Ready, status: "True"}
	  - {type: ContainersReady, status: "True"}
	  - {type: PodScheduled, status: "True"}
	END
}

# policy NAME SPEC: an AuthorizationPolicy of the namespace default; SPEC is JSON.
policy() {
    printf 'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: %s, namespace: default}\nspec: %s\n' "$1" "$2"
}
