# SPDX-License-Identifier: Apache-2.0
# One row's lab (scripts/lab): two nodes, the pods that talk, and what a mesh is told about them.
#
#   node 1: client 10.71.1.10, guest 10.71.1.30            service server: 10.96.0.20, ports as the pod's
#   node 2: near 10.71.2.10, server 10.71.2.20 and 10.73.0.1 ... (routed to it; a tunnel each)
import glob
import os
import re
import shutil

from . import system

TRUST_DOMAIN = "cluster.local"
NAMESPACE = "default"
VIP4, VIP6 = "10.96.0.20", "fd96::20"
SERVICE = f"server.{NAMESPACE}.svc.{TRUST_DOMAIN}"

ECHO_PORT, SINK_PORT, PORTS, HTTP_PORT = 5000, 5100, 32, 8080
# capture: ebpf knows 64 addresses of a pod, loopback and link-local among them.
EXTRA_ADDRESSES = 48

# The legs of culvertd have source ports below 32768; an app that took the same one would hang.
SYSCTLS = {"net/ipv4/ip_local_port_range": "32768 65535", "net/ipv4/tcp_tw_reuse": "1"}


class Pod:
    def __init__(self, lab, name, node, index):
        self.name, self.node, self.index = name, node, index
        self.netns = f"{lab}-{name}"
        self.ip4, self.ip6 = f"10.71.{node}.{index}", f"fd71:0:0:{node}::{index}"
        self.uid = f"Kubernetes//Pod/{NAMESPACE}/{name}"
        self.extra = []

    @property
    def addresses(self):
        return [self.ip4, self.ip6, *self.extra]


class Lab:
    def __init__(self, scripts, name):
        self.name = name
        self.run_directory = f"/run/culvert-{name}"
        self._tool = os.path.join(scripts, "lab")
        self.client = Pod(name, "client", 1, 10)
        self.guest = Pod(name, "guest", 1, 30)
        self.near = Pod(name, "near", 2, 10)
        self.server = Pod(name, "server", 2, 20)
        self.server.extra = [f"10.73.0.{number}" for number in range(1, EXTRA_ADDRESSES + 1)]
        self.pods = [self.client, self.near, self.server]

    def up(self):
        os.makedirs(self.run_directory, mode=0o700)
        system.run([self._tool, "up", self.name])
        for pod in [*self.pods, self.guest]:
            system.run([self._tool, "pod", self.name, str(pod.node), pod.name, str(pod.index)])
            settings = "; ".join(f"echo {value} >/proc/sys/{key}" for key, value in SYSCTLS.items())
            system.run(["nsenter", f"--net={system.netns_path(pod.netns)}", "--", "sh", "-ec", settings])
        self._ip(self.node_netns(1), "route add 10.73.0.0/24 via 10.72.0.2")
        self._ip(self.node_netns(2), f"route add 10.73.0.0/24 via {self.server.ip4}")
        self._ip(self.server.netns, *(f"address add {address}/32 dev eth0" for address in self.server.extra))

    def down(self):
        system.run([self._tool, "down", self.name])
        shutil.rmtree(self.run_directory, ignore_errors=True)

    def node_netns(self, node):
        return f"{self.name}-n{node}"

    def path(self, name):
        return os.path.join(self.run_directory, name)

    def pod_entries(self, node, also=()):
        """What culvertd is told about the pods of its node, in the words of its file."""
        return [{"uid": pod.uid, "name": pod.name, "namespace": NAMESPACE, "serviceAccount": pod.name,
                 "netns": system.netns_path(pod.netns)} for pod in [*self.pods, *also] if pod.node == node]

    def workloads(self):
        ports = {ECHO_PORT: ECHO_PORT, SINK_PORT: SINK_PORT, 80: HTTP_PORT}
        return [{"uid": pod.uid, "name": pod.name, "namespace": NAMESPACE, "serviceAccount": pod.name,
                 "trustDomain": TRUST_DOMAIN, "clusterId": "Kubernetes", "workloadIps": pod.addresses,
                 "protocol": "HBONE", "node": self.node_netns(pod.node),
                 "services": {f"{NAMESPACE}/{SERVICE}": ports} if pod is self.server else {}}
                for pod in [*self.pods, self.guest]]

    def services(self):
        return [{"name": "server", "namespace": NAMESPACE, "hostname": SERVICE, "vips": [f"/{VIP4}", f"/{VIP6}"],
                 "ports": {ECHO_PORT: ECHO_PORT, SINK_PORT: SINK_PORT, 80: HTTP_PORT}}]

    @staticmethod
    def _ip(netns, *commands):
        system.run(["ip", "-n", netns, "-batch", "-"], input="\n".join(commands) + "\n")


def remove_leftovers(scripts):
    """Labs of benches that were killed: their names hold the process that made them."""
    names = {match[1]: int(match[2]) for path in glob.glob("/run/netns/bench*") + glob.glob("/run/culvert-bench*")
             if (match := re.search(r"(bench(\d+)x\d+)", path))}
    for name, pid in names.items():
        if not system.alive(pid):
            remove_traces(name)
            Lab(scripts, name).down()


def remove_traces(name):
    """What a daemon that nobody can ask any more has left: pins, records, and the files of its probes' sets."""
    for path in glob.glob(f"/run/culvert/{name}-n?/iptables/*"):
        with open(path) as file:
            nodes = re.findall(r"^node \d+ (\d+)$", file.read(), re.M)
        for probes in (f"/run/culvert/probes-{node}-v{family}" for node in nodes for family in "46"):
            if os.path.exists(probes):
                os.unlink(probes)
    for path in glob.glob(f"/sys/fs/bpf/culvert/{name}-n?") + glob.glob(f"/run/culvert/{name}-n?"):
        shutil.rmtree(path, ignore_errors=True)
