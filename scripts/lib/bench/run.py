# SPDX-License-Identifier: Apache-2.0
# One run from the first namespace to the result; whatever happens, nothing of it stays.
import fcntl
import os
import resource
import shutil
import subprocess
import sys

from . import decide, footprint, lab, machine, measures, profile, results, rounds, rows, system

LOCK = "/run/culvert-bench.lock"


def run(scripts, options):
    root = os.path.dirname(scripts)
    pinnings = find_pinnings(options)
    find_programs(scripts, root, options)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Ours is the first core, where nothing is measured on one core.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with open(LOCK, "w") as lock:
        _take(lock)
        lab.remove_leftovers(scripts)
        needs_labs = options.measures != ["decide"]
        made = rows.make(options, scripts, os.getpid()) if needs_labs else []
        try:
            return Run(root, options, made, pinnings).results()
        finally:
            system.undisturbed(lambda: [row.down() for row in made])


class Run:
    def __init__(self, root, options, made, pinnings):
        self._root, self._options, self._rows, self._pinnings = root, options, made, pinnings
        self._timed = [name for name in options.measures if measures.MEASURES[name][0]]
        budget = options.rounds * len(self._timed) * len(made) * len(pinnings)
        self._polluted = rounds.Polluted(made, budget // (4 if options.quick else 1))
        self._machine = machine.describe(root)

    def results(self):
        one = next((pinning for pinning in self._pinnings if pinning.name == "one"), None)
        split = next((pinning for pinning in self._pinnings if pinning.name == "split"), None)
        for number, row in enumerate(self._rows):
            _say(f"starting {row.name}")
            row.up(one or split)
        first, apart = self._table(), self._table()
        self._footprints(first)
        for pinning, into in ((one, first), (split, apart)):
            if pinning:
                self._play(pinning, into)
        if self._options.profile:
            self._profile(one or split)
        columns = list(measures.UNITS)
        done = {"machine": self._about(), "rows": first.rows(columns), "ratios": first.ratios(columns),
                "split": None, "proxies": first.proxies_alone(columns), "decisions": None}
        if "decide" in self._options.measures:
            _say("decide")
            done["decisions"] = decide.measure(self._options.generator, (one or split).proxies)
        if split and self._rows:
            done["split"] = {"rows": apart.rows(columns), "ratios": apart.ratios(columns)}
        return done

    def _table(self):
        return results.Table([row.name for row in self._rows])

    def _footprints(self, table):
        """Before any load: memory that a load has grown would hide what connections take."""
        for row in self._rows:
            if "memory" in self._options.measures and row.proxies.kind != "direct":
                _say(f"memory: {row.name}")
                idle, growth = footprint.memory(row, 1 if self._options.quick else 3)
                table.put(row.name, "idle_rss_mb", idle)
                table.put(row.name, "rss_per_1000_conns_mb", growth)
            if "enrol" in self._options.measures and row.proxies.kind == "culvert":
                _say(f"enrolling: {row.name}")
                table.put(row.name, "enrol_p50_ms", footprint.enrolments(row, 21))

    def _play(self, pinning, table):
        for row in self._rows:
            row.pin(pinning)
        for name in self._timed:
            measure, columns = measures.MEASURES[name]
            if pinning.name == "split" and not any("cpu" in column for column in columns):
                continue
            rows_of_it = [row for row in self._rows if name != "tunnel" or row.proxies.kind != "direct"]

            def progress(number, row):
                _say(f"{pinning.name}: {name}: round {number + 1} of {self._options.rounds}: {row.name}")
            table.add(rounds.play(rows_of_it, measure, self._options.seconds, self._options.rounds, self._polluted,
                                  progress))

    def _profile(self, pinning):
        os.makedirs(self._options.profile, exist_ok=True)
        for row in self._rows:
            if row.proxies.kind == "culvert" and row.name != "iptables":
                row.pin(pinning)
                for name in self._timed:
                    _say(f"profile: {name}: {row.name}")
                    profile.record(row, f"{row.name}-{name}", measures.MEASURES[name][0], self._options.seconds,
                                   self._options.profile)

    def _about(self):
        options, polluted = self._options, self._polluted
        daemons = {row.name: next(iter(row.proxies.daemon_pids), None) for row in self._rows}
        return self._machine | {
            "openssl": {name: machine.openssl_of(pid) for name, pid in daemons.items() if pid},
            "compiler": {name: machine.compiler_of(pid) for name, pid in daemons.items() if pid},
            "versions": {row.name: row.proxies.version for row in self._rows if row.proxies.version},
            "pinning": "; ".join(str(pinning) for pinning in self._pinnings),
            "rounds": options.rounds, "seconds": options.seconds, "quick": options.quick,
            "dropped": polluted.dropped, "noisy": polluted.noisy, "kept_noisy": polluted.kept,
            "foreign": polluted.foreign,
            "command": options.command,
            "notes": [note.format(socket="a socket with TCP_NODELAY" if options.nodelay else "a socket as the kernel makes it")
                      for note in NOTES] + ([APART] if machine.books_interrupts_apart() else []),
        }


NOTES = [
    "rr: 64 bytes there and back on 1 or 16 connections. crr: a connection each. tunnel: a connection that needs a new "
    "tunnel. stream1k: writes of 1000 bytes, bulk: of 64 KiB, on {socket}. http16: wrk with 16 connections, nginx",
    "idle_rss_mb, rss_per_1000_conns_mb: VmRSS of the larger daemon, freshly started; 1 MB is 1e6 bytes",
    "enrol_p50_ms: median of 21 enrolments, each the growth of the sum of culvert_capture_enrolment_seconds",
    "a decision: CPU time of the authorization engine, of a thread that does nothing else; policies of ten rules each, by "
    "principal, start of a principal, namespace, account and source range, none of which meets the connection",
]

APART = ("this kernel books interrupts apart from the processes that they interrupt (CONFIG_IRQ_TIME_ACCOUNTING): what the "
         "network does in softirqs is missing from every CPU figure, of every row")


def find_programs(scripts, root, options):
    """Builds what is not given: the image's daemon or the host's, and the generator."""
    native = os.path.join(root, "build/release/bin")
    wanted = []
    if not options.generator:
        wanted += ["culvert_load", decide.PROGRAM]
        options.generator = os.path.join(native, "culvert_load")
    if options.measures == ["decide"]:
        pass  # no daemon has a part in it
    elif not options.culvertd and options.native:
        wanted.append("culvertd")
        options.culvertd = os.path.join(native, "culvertd")
    elif not options.culvertd:
        _build([os.path.join(scripts, "image"), "--print-root"])
        options.culvertd = os.path.join(root, "build/image/culvertd")
    if wanted:
        _build([os.path.join(scripts, "build"), *wanted])  # and installs what is missing
    if options.profile:
        profile.find_perf()
    for name in ("ip", "nsenter", "nginx", "wrk") if options.measures != ["decide"] else ():
        if not shutil.which(name):
            raise system.Trouble(f"there is no {name}: scripts/deps installs what is missing")


def _build(command):
    """What it prints is for who waits, not part of what we print."""
    _say(f"{os.path.basename(command[0])} {' '.join(command[1:])}\n")
    if subprocess.run(command, stdout=sys.stderr).returncode != 0:
        raise system.Trouble(f"scripts/{os.path.basename(command[0])} failed; its last lines are above")


def find_pinnings(options):
    cores = sorted(os.sched_getaffinity(0))
    one, apart = rows.Pinning("one", cores[-1], cores[-1]), rows.Pinning("split", cores[0], cores[-1])
    if len(cores) == 1:
        if options.pinning == "split":
            raise system.Trouble("this machine has one core: apps and proxies cannot be apart")
        if not options.quick:
            _say("this machine has one core: not measured with apps and proxies apart\n")
        return [one]
    if options.pinning:
        return [one if options.pinning == "one" else apart]
    return [one] if options.quick else [one, apart]


def _take(lock):
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _say("waiting: another bench runs on this machine\n")
        fcntl.flock(lock, fcntl.LOCK_EX)


def _say(words):
    """Progress: one line that changes on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{words}", end="", file=sys.stderr, flush=True)
    else:
        print(words.rstrip(), file=sys.stderr, flush=True)
