# SPDX-License-Identifier: Apache-2.0
# What is looked at: each daemon, its maps, and the sockets of every namespace.
import os
import re
import subprocess
import time

from bench import system

EVERY, SOCKETS_EVERY = 1.0, 5.0


class Samples:
    """Series by name: lists of (time, value)."""

    def __init__(self, lab, mesh, pod_pids):
        self.lab, self.mesh, self._pod_pids = lab, mesh, pod_pids
        self.series = {}
        self._next = self._next_sockets = 0.0

    def step(self, now):
        if now < self._next:
            return
        self._next = now + EVERY
        sockets = now >= self._next_sockets
        if sockets:
            self._next_sockets = now + SOCKETS_EVERY
        for name, value in self.take(sockets).items():
            self.series.setdefault(name, []).append((now, value))

    def take(self, sockets=True):
        taken = {}
        for node in (1, 2):
            taken |= {f"n{node}.{name}": value for name, value in self._daemon(node).items()}
        taken |= self._sockstat()
        if sockets:
            taken |= self._sockets()
        return taken

    def _daemon(self, node):
        self.mesh.check()
        taken = process(self.mesh.pid(node))
        samples = page(self.lab.node_netns(node))
        for name in ("connections_open", "tunnels_in_open", "tunnels_out_open"):
            taken[name] = samples[f"culvert_proxy_{name}", ""]
        for (name, label), value in samples.items():
            if name == "culvert_map_entries":
                taken[f"map.{label}"] = value
        taken["pins"] = sum(len(files) for _, _, files in os.walk(f"/sys/fs/bpf/culvert/{self.lab.node_netns(node)}"))
        return taken

    def _sockstat(self):
        """TCP sockets of our namespaces without TIME_WAIT; the pages are the whole machine's."""
        sockets = pages = 0
        for pid in self._namespaces():
            for name in ("sockstat", "sockstat6"):
                with open(f"/proc/{pid}/net/{name}") as file:
                    for line in file:
                        words = line.split()
                        if words[0] in ("TCP:", "TCP6:"):
                            sockets += int(words[words.index("inuse") + 1])
                            pages = int(words[words.index("mem") + 1]) if "mem" in words else pages
        return {"tcp_sockets": sockets, "machine.tcp_pages": pages}

    def still_open(self):
        """The lines of ss about connections, tunnels left out: what to look at when something is held for nothing."""
        lines = []
        for pid in self._namespaces():
            lines += [line for line in _ss(pid, "-Htnp") if ":15008" not in line and "culvert" in line]
        return lines

    def _namespaces(self):
        """A process in each."""
        return [*self._pod_pids, self.mesh.pid(1), self.mesh.pid(2)]

    def _sockets(self):
        """By ss: memory of sockets in bytes, and those whose peer has ended and whose owner has not."""
        memory = waiting = 0
        for pid in self._namespaces():
            for line in _ss(pid, "-HtamO", "state", "big"):
                waiting += line.startswith("CLOSE-WAIT")
                found = re.search(r"skmem:\(r(\d+),rb\d+,t(\d+),tb\d+,f(\d+),w(\d+),o(\d+),bl(\d+)", line)
                memory += sum(map(int, found.groups())) if found else 0
        return {"socket_bytes": memory, "close_wait": waiting}


def _ss(pid, *words):
    return subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", "--", "ss", *words], capture_output=True,
                          text=True).stdout.splitlines()


def process(pid):
    taken = {"fds": len(os.listdir(f"/proc/{pid}/fd"))}
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            word, _, value = line.partition(":")
            if word in ("VmRSS", "RssAnon", "Threads"):
                taken[{"VmRSS": "rss_kb", "RssAnon": "anon_kb", "Threads": "threads"}[word]] = int(value.split()[0])
    return taken


def page(netns):
    """The metrics page of a node: {(name, label value): number}."""
    try:
        text = system.get(netns, 15020, "/metrics", timeout=5)[1]
    except OSError as trouble:
        raise system.Trouble(f"culvertd of {netns} does not show its metrics: {trouble}") from None
    shape = re.compile(r'^(\w+)(?:\{\w+="([^"]*)"\})? ([-+.\w]+)$', re.M)
    return {(name, label): float(value) for name, label, value in shape.findall(text)}


def quiet(lab, mesh, samples, limit):
    """What is held without load, once it stands still; the last reading when it does not within the limit.

    A row of cv_flows whose connection ended before a worker accepted it goes a minute later (capture/watch_over)."""
    until, before = time.monotonic() + limit, {}
    swept = time.monotonic() + 75
    while True:
        now = samples.take()
        still = {name: value for name, value in now.items() if name.endswith((".fds", "_open", "close_wait"))}
        idle = all(now[f"n{node}.connections_open"] == 0 for node in (1, 2))
        listed = any(now.get(f"n{node}.map.cv_flows") for node in (1, 2))
        done = (idle and still == before) or time.monotonic() > until
        if done and (not idle or not listed or time.monotonic() > swept):
            return now
        before = still
        time.sleep(1)
