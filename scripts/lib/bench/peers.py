# SPDX-License-Identifier: Apache-2.0
# --peer NAME=SCRIPT: a row whose proxies somebody else starts.
#
#   SCRIPT start FILE     FILE is JSON, below. Starts the proxies, waits until the pods are in the mesh, and prints one JSON
#                         object as the last line of its standard output:
#                         {"pids": [PID, ...],           the proxies, whose CPU and memory count (every thread of each)
#                          "stop": ["PROGRAM", "ARG"]}   run when the row ends or starts anew, also after a failure
#                         A start that fails, or whose answer is not this, has to clear up itself: nobody knows what to stop.
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
# The pids are those that do the work, not of a shell around them: a row whose processes did nothing is refused. What a kernel
# does on its own (WireGuard's workers, say) is on nobody's bill; on a quiet machine it shows as somebody else's time.
# Standard input of SCRIPT is closed, its standard error is shown when it fails, and it has 60 s. It runs on the node's own
# network: it enters namespaces itself, with nsenter --net=PATH. It must leave nothing in them when "stop" has ended.
# "start" may come again after "stop": memory is measured on fresh proxies, and so are tunnels.
#
# A ztunnel, for example: for each node `nsenter --net=NODE ztunnel` with LOCAL_XDS_PATH made of "workloads" and "services"
# and PROXY_MODE=shared; for each pod of it istio's rules with iptables-restore in the pod's netns, and the pod's netns
# handed to it over ZDS. scripts/lib/bench/peer_culvert.py is a whole example; it starts culvertd.
import json
import subprocess
import tempfile

from . import lab as lab_module
from . import system

PATIENCE = 60


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
            self.daemon_pids, self._stop = understood(answer)
        except (ValueError, IndexError, KeyError, TypeError, AttributeError):
            raise system.Trouble(f'{self._script} start: no {{"pids": [PID, ...], "stop": ["PROGRAM", ...]}} in its last '
                                 "line") from None
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
        """Into files: a proxy that keeps its starter's output open would keep us waiting at a pipe."""
        name = " ".join(command)
        def room():
            return tempfile.TemporaryFile("w+", errors="replace", dir=self.lab.run_directory)

        with room() as out, room() as err:
            try:
                status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=PATIENCE).returncode
            except subprocess.TimeoutExpired:
                raise system.Trouble(f"{name}: not done after {PATIENCE} s") from None
            for file in (out, err):
                file.seek(0)
            said, words = out.read(), err.read()
        if status != 0:
            raise system.Trouble(f"{name}: {(words or said).strip() or 'it said nothing'}")
        return said


def understood(answer):
    """The pids and what stops them, of the last line; an exception of some kind when it is not as above."""
    said = json.loads(answer.strip().splitlines()[-1])
    pids, stop = [int(pid) for pid in said["pids"]], said.get("stop") or []
    if min(pids) < 2 or not isinstance(stop, list) or not all(isinstance(word, str) for word in stop):
        raise ValueError
    return pids, stop


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
