# SPDX-License-Identifier: Apache-2.0
# A row of the table: a lab, its servers, its proxies, and the cores that they are on.
from . import apps, system
from .lab import Lab
from .peers import Peer
from .proxies import Culvert, Nothing


class Pinning:
    """Where a row's processes run. One core, or apps and proxies apart; results of the two are never mixed."""

    def __init__(self, name, apps_core, proxies_core):
        self.name, self.apps, self.proxies = name, apps_core, proxies_core

    def __str__(self):
        if self.apps == self.proxies:
            return f"one: everything on core {self.apps}"
        return f"split: apps on core {self.apps}, proxies on core {self.proxies}"

    @property
    def cores(self):
        return sorted({self.apps, self.proxies})


class Row:
    def __init__(self, name, lab, proxies, generator, nodelay):
        self.name, self.lab, self.proxies = name, lab, proxies
        self._generator, self._nodelay = generator, nodelay
        self.servers = apps.Servers(lab, generator)
        self.pinning = None
        self._kernel_threads = []
        self._addresses = []

    def up(self, pinning):
        self.pinning = pinning
        self.lab.up()
        self.servers.start(pinning.apps)
        self.start_proxies()
        self.pin(pinning)

    def down(self):
        for undo in (self.proxies.remove, self.servers.stop, self.lab.down):
            try:
                undo()
            except (system.Trouble, OSError) as trouble:
                print(f"   {self.name}: {trouble}", flush=True)

    def pin(self, pinning):
        self.pinning = pinning
        self._kernel_threads = system.kernel_threads(pinning.cores)
        system.pin(self.servers.pids, pinning.apps)
        system.pin(self.proxies.daemon_pids, pinning.proxies)

    def start_proxies(self):
        self.proxies.start(self.pinning.proxies)
        system.pin(self.proxies.daemon_pids, self.pinning.proxies)
        self._addresses = list(self.lab.server.extra)

    def restart_proxies(self):
        self.proxies.stop()
        self.start_proxies()

    @property
    def proxy_accounts(self):
        return [*self.proxies.daemon_pids, *self._kernel_threads]

    def generate(self, arguments, pod="client"):
        self.proxies.check()
        if self._nodelay and arguments[0] == "stream":
            arguments = [*arguments, "--nodelay"]
        return apps.generate(self._generator, [str(argument) for argument in arguments], getattr(self.lab, pod).netns,
                             self.pinning.apps, [*self.servers.echo_pids, *self.proxy_accounts])

    def hold(self, count):
        return apps.Held(self._generator, self.lab.server.ip4, count, self.lab.client.netns, self.pinning.apps)

    def fresh_addresses(self, count):
        """Addresses of the server to which no tunnel was opened yet. When they are used up the proxies start anew."""
        if len(self._addresses) < count + 1:
            self.restart_proxies()
        # The one connection more has certificates, listeners and code ready, as after any start.
        warming = self._addresses.pop()
        with open(self.lab.path("warming"), "w") as file:
            file.write(warming + "\n")
        self.generate(["crr", "--each", self.lab.path("warming"), apps.ECHO_PORT, "--bytes", 64])
        fresh, self._addresses = self._addresses[:count], self._addresses[count:]
        return fresh


def make(options, scripts, pid):
    """The rows of this run, none of them up yet."""
    rows = []

    def add(name, proxies_of):
        lab = Lab(scripts, f"bench{pid}x{len(rows)}")
        rows.append(Row(name, lab, proxies_of(lab), options.generator, options.nodelay))

    for name in options.rows:
        add(name, lambda lab: Nothing() if name == "direct" else Culvert(lab, [options.culvertd], name))
    if options.vs:
        add("vs", lambda lab: Culvert(lab, [options.vs], "ebpf"))
    for name, script in options.peer:
        add(name, lambda lab: Peer(lab, script))
    return rows
