# SPDX-License-Identifier: Apache-2.0
# What stands between the pods of a row: nothing, or a culvertd on each node. Somebody else's: peers.py.
import json
import os
import re
import time

from . import lab as lab_module
from . import system


class Nothing:
    kind = "direct"
    daemon_pids = ()
    version = None

    def start(self, core):
        pass

    def stop(self):
        pass

    def remove(self):
        pass

    def check(self):
        pass


class Culvert:
    kind = "culvert"

    def __init__(self, lab, binary, capture):
        self.lab, self.binary, self.capture = lab, binary, capture
        self._processes = {}

    @property
    def daemon_pids(self):
        return [process.pid for process in self._processes.values()]

    @property
    def version(self):
        return system.run([*self.binary, "--version"]).splitlines()[0]

    def start(self, core):
        for node in (1, 2):
            self.write_config(node)
            log = open(self.lab.path(f"n{node}.log"), "ab")
            self._processes[node] = system.start([*self.binary, "--config", self._config(node)],
                                                 netns=self.lab.node_netns(node), core=core, stdout=log, stderr=log)
            log.close()
        for node in (1, 2):
            self._wait_until_ready(node)

    def stop(self):
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            system.end(process)
        self._processes.clear()

    def remove(self):
        self.stop()
        for node in (1, 2):
            try:
                system.run([*self.binary, "cleanup", self.lab.node_netns(node)])
            except (system.Trouble, OSError):
                pass  # remove_traces() does it by force
        lab_module.remove_traces(self.lab.name)

    def check(self):
        for node, process in self._processes.items():
            if process.poll() is not None:
                raise system.Trouble(f"culvertd of node {node} has ended, {system.how_it_ended(process)}: "
                                     f"{self._last_words(node)}")

    def write_config(self, node, also=()):
        """Aside and renamed, so that the daemon sees the old file or the new one. JSON is YAML, too."""
        aside = self._config(node) + ".new"
        with open(aside, "w") as file:
            json.dump(self.config(node, also), file, indent=1)
        os.rename(aside, self._config(node))

    def config(self, node, also=()):
        return {
            "node": {"name": self.lab.node_netns(node), "clusterId": "Kubernetes",
                     "trustDomain": lab_module.TRUST_DOMAIN},
            "capture": self.capture,
            "ca": {"directory": self.lab.path("ca")},
            "log": {"level": "info", "access": self.lab.path(f"n{node}.access.log")},
            "workers": 1,  # as many as cores, of which it has one
            "pods": self.lab.pod_entries(node, also),
            "workloads": self.lab.workloads(),
            "services": self.lab.services(),
        }

    def metrics(self, node):
        """The samples without labels, by name."""
        text = system.get(self.lab.node_netns(node), 15020, "/metrics")[1]
        return {name: float(value) for name, value in re.findall(r"^(\w+) ([-+.\w]+)$", text, re.M)}

    def _config(self, node):
        return self.lab.path(f"n{node}.yaml")

    def _wait_until_ready(self, node):
        until = time.monotonic() + 20
        while True:
            self.check()
            try:
                if system.get(self.lab.node_netns(node), 15021, "/healthz/ready")[0] == 200:
                    return
            except OSError:
                pass
            if time.monotonic() > until:
                raise system.Trouble(f"culvertd of node {node} is not ready after 20 s: {self._last_words(node)}")
            time.sleep(0.02)

    def _last_words(self, node):
        return system.last_words(self.lab.path(f"n{node}.log"))
