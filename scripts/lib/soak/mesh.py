# SPDX-License-Identifier: Apache-2.0
# The mesh under soak: the bench's lab, two daemons, and configurations that are never the same for long.
import glob
import os
import re
import signal

from bench import lab as bench_lab
from bench import proxies, system

CERTIFICATE_LIFE = "60s"
WORKERS = 2
SERVICES = 40  # that come and go, beside the one that is called


class Mesh(proxies.Culvert):
    """Two culvertd, and what they are told at each step."""

    def __init__(self, lab, binary, capture):
        super().__init__(lab, [binary], capture)
        self._step = 0

    def change(self):
        """A new file for both nodes: the guest joins or leaves, services come and go. Every fourth cannot be parsed."""
        self._step += 1
        if self._step % 4 == 0:
            return self._nonsense()
        also = [self.lab.guest] if self._step % 2 == 0 else []
        for node in (1, 2):
            self.write_config(node, also)

    def calm(self):
        """The file of the beginning."""
        self._step = 0
        for node in (1, 2):
            self.write_config(node)

    def rotate_logs(self):
        """As logrotate does it: the access log's file is taken away, SIGHUP has a new one opened."""
        for node, process in self._processes.items():
            path = self.lab.path(f"n{node}.access.log")
            if os.path.exists(path):
                os.rename(path, path + ".1")
            process.send_signal(signal.SIGHUP)

    def pid(self, node):
        return self._processes[node].pid

    def config(self, node, also=()):
        config = super().config(node, also)
        config["workers"] = WORKERS
        config["ca"]["ttl"] = CERTIFICATE_LIFE
        config["services"] = config["services"] + [_service(number) for number in range(SERVICES)
                                                   if (number + self._step) % 3]
        return config

    def _nonsense(self):
        for node in (1, 2):
            aside = self._config(node) + ".new"
            with open(aside, "w") as file:
                file.write("node: {name: [\n")
            os.rename(aside, self._config(node))


def _service(number):
    hostname = f"idle{number}.{bench_lab.NAMESPACE}.svc.{bench_lab.TRUST_DOMAIN}"
    return {"name": f"idle{number}", "namespace": bench_lab.NAMESPACE, "hostname": hostname,
            "vips": [f"/10.96.1.{number + 1}"], "ports": {80: 80}}


def remove_leftovers(scripts):
    """Labs of soaks that were killed: their names hold the process that made them."""
    for path in glob.glob("/run/netns/soak*") + glob.glob("/run/culvert-soak*"):
        found = re.search(r"soak(\d+)", path)
        if found and not system.alive(int(found[1])):
            bench_lab.remove_traces(found[0])
            bench_lab.Lab(scripts, found[0]).down()
