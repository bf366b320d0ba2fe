// SPDX-License-Identifier: Apache-2.0
// A file with every section, which the tests read, spoil and compare.
#pragma once

namespace culvert::control {

inline constexpr const char* good_file = R"(node:
  name: node1
  network: net1
  clusterId: west
  trustDomain: example.org
capture: ebpf
ca: {directory: /tmp/ca, crl: /tmp/crl.pem, ttl: 90s}
log: {level: debug, format: json, access: /var/log/access.log}
workers: 2
shutdown: {deadline: 100ms}
doors: {metrics: "127.0.0.1:1", ready: ""}
limits:
  maxPods: 3
  maxFlows: 4
  maxConnectionsPerWorker: 5
  maxHandshakesPerWorker: 6
  maxHandshakesPerSource: 7
  maxTunnelsPerPod: 8
  maxTunnelsPerSource: 9
  maxTunnelsPerPeer: 10
  maxStreamsPerTunnel: 11
  maxHeaderBytes: 2048
  controlFramesPerSecond: 12
  handshakeTimeout: 6s
  connectTimeout: 7s
keepalive: {time: 1s, interval: 2s, retries: 3, userTimeout: 4s}
pods:
- uid: Kubernetes//Pod/bench/c1
  name: c1
  namespace: bench
  serviceAccount: client
  netns: /run/netns/c1
workloads:
- uid: Kubernetes//Pod/bench/c1
  name: c1
  namespace: bench
  serviceAccount: client
  workloadIps: [10.71.1.10, "fd00::10"]
  protocol: HBONE
  node: node1
  workloadName: client
  workloadType: deployment
  canonicalName: client
  canonicalRevision: v1
  network: net1
  locality: {region: r, zone: z, subzone: s, anything: else}
  nativeTunnel: true
  waypoint: null
  networkGateway: ~
  applicationTunnel:
  authorizationPolicies: []
  services: {}
- uid: Kubernetes//Pod/bench/s1
  namespace: bench
  trustDomain: other.org
  clusterId: east
  workloadIps: []
  networkMode: HostNetwork
  status: Unhealthy
  capacity: 0
  hostname: ""
  services:
    bench/web.bench.svc.cluster.local: {80: 8080, "443": 8443}
services:
- name: web
  namespace: bench
  hostname: web.bench.svc.cluster.local
  vips: ["/10.71.255.1", net1/fd00:255::1]
  cidrVips: [{network: "", cidr: 10.99.0.0/16, length: 16}]
  ports: {80: 0, 443: 8443}
  endpoints:
    Kubernetes//Pod/bench/c1: {workloadUid: Kubernetes//Pod/bench/c1, port: {80: 7000}, status: Unhealthy}
  subjectAltNames: ["spiffe://example.org/ns/bench/sa/web"]
  loadBalancer: {routingPreferences: [Network, Region], mode: Failover, healthPolicy: AllowAll}
  ipFamilies: IPv6
  canonical: true
  visibility: Namespace
  waypoint: null
  weightedWaypoints: []
policies: []
)";

}
