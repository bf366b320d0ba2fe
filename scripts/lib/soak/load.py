# SPDX-License-Identifier: Apache-2.0
# The load: the generator's runs, one after the other in each job, all jobs side by side; and the resets.
import json
import os
import sys
import time

from bench import system
from bench.lab import ECHO_PORT, PORTS, SINK_PORT, VIP4, VIP6

ECHO, SINK = f"{ECHO_PORT}x{PORTS}", f"{SINK_PORT}x{PORTS}"
RESET_PORT = 6000
PATIENCE = 15  # seconds that a run may take beyond its own


class Job:
    """The same run again and again, with a pause between. Strict: no error is allowed."""

    def __init__(self, name, pod, arguments, seconds=0.0, pause=0.0, strict=True):
        self.name, self.pod, self.strict = name, pod, strict
        self.runs = self.ops = self.bytes = self.errors = 0
        self.words = []
        self._arguments, self._pause, self._limit = arguments, pause, seconds + PATIENCE
        self._process = None
        self._next = self._began = 0.0

    @property
    def running(self):
        return self._process is not None

    def step(self, generator, now, may_start):
        if self._process is None:
            if may_start and now >= self._next:
                self._began = now
                self._process = system.start([generator, *self._arguments], netns=self.pod.netns,
                                             stdin=system.subprocess.DEVNULL, stdout=system.subprocess.PIPE,
                                             stderr=system.subprocess.PIPE, text=True)
        elif self._process.poll() is not None:
            self._collect(*self._process.communicate())
        elif now > self._began + self._limit:
            self._process.kill()
            self._process.communicate()
            self._fail(f"did not end within {self._limit:.0f} s")

    def stop(self):
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _collect(self, out, words):
        try:
            figures = json.loads(out.strip().splitlines()[-1])
        except (ValueError, IndexError):
            return self._fail(words.strip() or "printed no JSON")
        self.ops += figures["ops"]
        self.bytes += figures["bytes"]
        if figures["errors"]:
            return self._fail(words.strip(), figures["errors"])
        self._done()

    def _fail(self, words, errors=1):
        self.errors += errors
        if len(self.words) < 5:
            self.words.append(words)
        self._done()

    def _done(self):
        self.runs += 1
        self._process = None
        self._next = time.monotonic() + self._pause


def jobs_of(lab):
    """Requests have a rate, and what takes all it can get takes it for a moment: the machine is busy, not choked."""
    client, near, server, guest = lab.client, lab.near, lab.server, lab.guest
    addresses = lab.path("addresses")
    with open(addresses, "w") as file:
        file.write("\n".join(server.extra) + "\n")

    def rate(name, pod, host, per_second, connections, size, port=ECHO_PORT):
        return Job(name, pod, ["rate", host, port, "--rate", per_second, "--connections", connections, "--bytes", size,
                               "--seconds", 5, "--warm", 0.1], 5)

    def crr(name, pod, host, connections, seconds=1.0, pause=2.0, strict=True):
        return Job(name, pod, ["crr", host, ECHO, "--connections", connections, "--seconds", seconds, "--warm", 0.1],
                   seconds, pause, strict)

    def bulk(name, pod, host, write, connections):
        return Job(name, pod, ["stream", host, SINK, "--write", write, "--connections", connections, "--seconds", 1,
                               "--warm", 0.1], 1, 3)

    return [
        rate("requests, by service, IPv4", client, VIP4, 600, 8, 64),
        rate("requests, back, IPv6", server, client.ip6, 400, 4, 1000, ECHO),
        rate("requests, same node, by service, IPv6", near, VIP6, 300, 4, 200),
        rate("large requests, IPv6", client, server.ip6, 50, 4, 100_000, ECHO),
        crr("new connections, IPv4", client, server.ip4, 4),
        crr("new connections, back, IPv6", near, client.ip6, 2),
        crr("new connections, same node, IPv4", near, server.ip4, 1),
        Job("new tunnels", client, ["crr", "--each", addresses, ECHO], 5, 5),
        bulk("bulk, IPv4", client, server.ip4, 65536, 1),
        bulk("bulk, back, IPv6", server, client.ip6, 65536, 2),
        bulk("small writes, IPv6", client, server.ip6, 1000, 4),
        bulk("bulk, same node, IPv4", near, server.ip4, 30000, 2),
        crr("a pod that joins and leaves", guest, server.ip4, 2, 0.5, 0.3, strict=False),
    ]


class Servers:
    """Echo and sink in every pod."""

    def __init__(self, lab, generator):
        self._lab, self._generator, self._processes = lab, generator, []

    def start(self):
        with open(self._lab.path("servers.log"), "ab") as log:
            for pod in (self._lab.client, self._lab.near, self._lab.server, self._lab.guest):
                process = system.start([self._generator, "serve", "--echo", ECHO, "--sink", SINK], netns=pod.netns,
                                       stdin=system.subprocess.DEVNULL, stdout=system.subprocess.PIPE, stderr=log)
                self._processes.append(process)
                if process.stdout.readline().strip() != b"ready":
                    raise system.Trouble(f"the server in {pod.name} did not start: "
                                         f"{system.last_words(self._lab.path('servers.log'))}")

    @property
    def pids(self):
        """One in each pod's namespace."""
        return [process.pid for process in self._processes]

    def stop(self):
        for process in self._processes:
            system.end(process)


class Resets:
    """resets.py at both ends: connections that one side resets in mid-flow, and some that end well."""

    def __init__(self, lab):
        self._lab, self._processes = lab, []

    def start(self):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "resets.py")
        server = self._lab.server
        self._start(server, [script, "serve", RESET_PORT])
        self._processes[-1].stdout.readline()  # it listens
        self._start(self._lab.client, [script, "visit", server.ip4, server.ip6, ECHO_PORT, SINK_PORT, RESET_PORT])

    def finish(self):
        """What the visitor has seen."""
        visitor = self._processes[-1]
        visitor.terminate()
        try:
            out, words = visitor.communicate(timeout=PATIENCE)
        except system.subprocess.TimeoutExpired:
            visitor.kill()
            out, words = visitor.communicate()
        self.stop()
        return json.loads(out) if out.strip() else {"wrong": 1, "words": [words.strip()]}

    def stop(self):
        for process in self._processes:
            process.kill()
            process.communicate()
        self._processes.clear()

    def _start(self, pod, words):
        self._processes.append(system.start([sys.executable, "-B", *words], netns=pod.netns,
                                            stdin=system.subprocess.DEVNULL, stdout=system.subprocess.PIPE,
                                            stderr=system.subprocess.PIPE, text=True))
