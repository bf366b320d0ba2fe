# SPDX-License-Identifier: Apache-2.0
# One soak from the first namespace to the result; whatever happens, nothing of it stays.
import os
import shutil
import sys
import time

from bench import apps, machine, system
from bench.lab import Lab

from . import judge, load, mesh, samples

CHANGE_EVERY, ROTATE_EVERY, SAY_EVERY = 2.0, 20.0, 30.0
HELD = 200
QUIET = 20  # seconds that it may take until all is still


def run(scripts, options):
    mesh.remove_leftovers(scripts)
    soak = Soak(scripts, options)
    try:
        return soak.result()
    except (system.Trouble, OSError):
        soak.keep_logs()  # a daemon that crashed or hangs is what a soak is for
        raise
    finally:
        system.undisturbed(soak.down)


class Soak:
    def __init__(self, scripts, options):
        self._options = options
        self._root = os.path.dirname(scripts)
        self._lab = Lab(scripts, f"soak{os.getpid()}")
        self._mesh = mesh.Mesh(self._lab, options.culvertd, options.capture)
        self._servers = load.Servers(self._lab, options.generator)
        self._resets = load.Resets(self._lab)
        self._jobs = []
        self._held = None
        self._held_words = ""
        self._samples = None

    def result(self):
        seconds = self._options.seconds
        self._up()
        # What a first load leaves for good is not growth.
        self._load(min(10.0, seconds / 4), "first load")
        before = self._quiet()
        for job in self._jobs:
            job.errors, job.words = 0, []
        self._samples.series.clear()
        self._held = apps.Held(self._options.generator, self._lab.server.ip4, HELD, self._lab.client.netns, None)
        self._resets.start()
        began = time.monotonic()
        self._load(seconds, "load")
        ended = time.monotonic()
        resets = self._resets.finish()
        self._let_go()
        after = self._quiet()
        still_open = self._samples.still_open()
        result = judge.result(self._about(), self._samples.series, began, ended,
                              quiet=(before, after), pages=[self._page(1), self._page(2)],
                              jobs=self._jobs, resets=resets, held=self._held_words, still_open=still_open)
        if not result["flat"]:
            self.keep_logs()
        return result

    def keep_logs(self):
        if not self._options.json or not os.path.isdir(self._lab.run_directory):
            return
        try:
            shutil.copytree(self._lab.run_directory, self._options.json + ".logs", dirs_exist_ok=True)
            _say(f"the daemons' logs are in {self._options.json}.logs")
        except OSError as trouble:
            _say(f"the daemons' logs could not all be kept: {trouble}")

    def down(self):
        for undo in (self._resets.stop, *(job.stop for job in self._jobs), self._let_go, self._mesh.remove,
                     self._servers.stop, self._lab.down):
            try:
                undo()
            except (system.Trouble, OSError, ValueError) as trouble:
                _say(f"taking down: {trouble}")

    def _up(self):
        _say("two nodes, two daemons")
        self._lab.up()
        self._jobs = load.jobs_of(self._lab)
        self._servers.start()
        self._mesh.start(None)
        self._samples = samples.Samples(self._lab, self._mesh, self._servers.pids)

    def _load(self, seconds, name):
        began = time.monotonic()
        until, said = began + seconds, began
        change, rotate = began + CHANGE_EVERY, began + ROTATE_EVERY
        while (now := time.monotonic()) < until or any(job.running for job in self._jobs):
            for job in self._jobs:
                job.step(self._options.generator, now, now < until)
            if now < until:
                self._samples.step(now)
            if now > change:
                self._mesh.change()
                change = now + CHANGE_EVERY
            if now > rotate:
                self._mesh.rotate_logs()
                rotate = now + ROTATE_EVERY
            if now > said:
                _say(f"{name}: {now - began:.0f} of {seconds:.0f} s")
                said = now + SAY_EVERY
            time.sleep(0.03)

    def _quiet(self):
        self._mesh.calm()
        _say("quiet")
        return samples.quiet(self._lab, self._mesh, self._samples, QUIET)

    def _let_go(self):
        """Each held connection must have lived until now."""
        held, self._held = self._held, None
        if held:
            try:
                held.close()
            except system.Trouble as trouble:
                self._held_words = str(trouble)

    def _page(self, node):
        return samples.page(self._lab.node_netns(node))

    def _about(self):
        pid = self._mesh.pid(1)
        return machine.describe(self._root) | {
            "openssl": machine.openssl_of(pid), "compiler": machine.compiler_of(pid), "capture": self._options.capture,
            "version": self._mesh.version, "command": self._options.command}


def _say(words):
    print(words, file=sys.stderr, flush=True)
