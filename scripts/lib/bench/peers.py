# SPDX-License-Identifier: Apache-2.0
# --peer NAME=SCRIPT: a row whose proxies somebody else starts.
#
#   SCRIPT start FILE     FILE is JSON, below. Starts the proxies, waits until the pods are in the mesh, and prints one JSON
#                         object as the last line of its standard output:
#                         {"pids": [PID, ...],           the proxies, whose CPU and memory count (every thread of each)
#                          "stop": ["PROGRAM", "ARG"]}   run when the row ends or starts anew, also after a failure
#
#   {"name": "bench1x3",                        of the lab; "node" and "netns" names are made of it
#    "run_directory": "/run/culvert-bench1x3",  room for files; removed with the lab
#    "core": 1,                                 where the proxies belong. They are put there again once "pids" is known;
#                                               what starts threads later inherits it
#    "trust_domain": "cluster.local",
#    "nodes": [{"name", "netns": "/run/netns/...", "address4", "address6", "core"}],
#    "pods": [{"name", "uid", "namespace", "service_account", "node", "netns": "/run/netns/...", "addresses": [...]}],
#    "workloads": [...], "services": [...]}     in the words of culvertd's and ztunnel's files (manifests/node.yaml)
#
# Standard input of SCRIPT is closed, its standard error is shown when it fails, and it has 60 s. It runs on the node's own
# network: it enters namespaces itself, with nsenter --net=PATH. It must leave nothing in them when "stop" has ended.
# "start" may come again after "stop": memory is measured on fresh proxies, and so are tunnels.
#
# A ztunnel, for example: for each node `nsenter --net=NODE ztunnel` with LOCAL_XDS_PATH made of "workloads" and "services"
# and PROXY_MODE=shared; for each pod of it istio's rules with iptables-restore in the pod's netns, and the pod's netns
# handed to it over ZDS. scripts/lib/bench/peer_culvert.py is a whole example; it starts culvertd.
import json
import subprocess

from . import lab as lab_module
from . import system


class Peer:
    kind = "peer"
    version = None

    def __init__(self, lab, script):
        self.lab, self._script = lab, script
        self.daemon_pids = []
        self._stop = None

    def start(self, core):
        with open(self.lab.path("peer.json"), "w") as file:
            json.dump(description(self.lab, core), file, indent=1)
        answer = self._run([self._script, "start", self.lab.path("peer.json")])
        try:
            said = json.loads(answer.strip().splitlines()[-1])
            self.daemon_pids, self._stop = [int(pid) for pid in said["pids"]], said.get("stop")
        except (ValueError, IndexError, KeyError, TypeError):
            raise system.Trouble(f'{self._script} start: no {{"pids": [...], "stop": [...]}} in its last line') from None
        self.check()

    def stop(self):
        stop, self._stop, self.daemon_pids = self._stop, None, []
        if stop:
            self._run(stop)

    def remove(self):
        self.stop()

    def check(self):
        for pid in self.daemon_pids:
            if not system.alive(pid):
                raise system.Trouble(f"process {pid} of {self._script} has ended")

    def _run(self, command):
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        except subprocess.TimeoutExpired:
            raise system.Trouble(f"{' '.join(command)}: not done after 60 s") from None
        if done.returncode != 0:
            raise system.Trouble(f"{' '.join(command)}: {(done.stderr or done.stdout).strip() or 'it said nothing'}")
        return done.stdout


def description(lab, core):
    return {
        "name": lab.name, "run_directory": lab.run_directory, "core": core, "trust_domain": lab_module.TRUST_DOMAIN,
        "nodes": [{"name": lab.node_netns(node), "netns": system.netns_path(lab.node_netns(node)),
                   "address4": f"10.72.0.{node}", "address6": f"fd72::{node}", "core": core} for node in (1, 2)],
        "pods": [{"name": pod.name, "uid": pod.uid, "namespace": lab_module.NAMESPACE, "service_account": pod.name,
                  "node": lab.node_netns(pod.node), "netns": system.netns_path(pod.netns), "addresses": pod.addresses}
                 for pod in lab.pods],
        "workloads": lab.workloads(), "services": lab.services(),
    }
