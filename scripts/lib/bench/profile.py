# SPDX-License-Identifier: Apache-2.0
# Where the daemons' time goes: perf beside one more round of a measure, for the reader and for perf's own tools.
import os
import shutil
import signal
import time

from . import system


def find_perf():
    if not shutil.which("perf"):
        raise system.Trouble("there is no perf, which --profile needs: apt-get install linux-perf")
    system.run(["perf", "--version"])


def record(row, name, measure, seconds, directory):
    """directory/NAME.data, and NAME.txt: by symbol, then with callers."""
    data = os.path.join(directory, f"{name}.data")
    # cpu-clock: virtual machines seldom have hardware counters.
    perf = system.start(["perf", "record", "-q", "-F", "4000", "-e", "cpu-clock", "-g", "-o", data,
                         "-p", ",".join(map(str, row.proxies.daemon_pids))], core=min(os.sched_getaffinity(0)),
                        stdout=system.subprocess.DEVNULL, stderr=system.subprocess.PIPE, text=True)
    try:
        time.sleep(0.3)  # it says nowhere that it has begun
        measure(row, seconds)
    finally:
        perf.send_signal(signal.SIGINT)
        _, words = perf.communicate(timeout=30)
    if not os.path.exists(data):
        raise system.Trouble(f"perf record: {words.strip() or 'it left nothing'}")
    flat = _report(data, "-g", "none", "--sort", "symbol,dso")
    called = _report(data, "-g", "caller,0.5,callee", "--sort", "symbol")
    with open(os.path.join(directory, f"{name}.txt"), "w") as file:
        file.write(flat + "\n\nwith callers\n\n" + called)


def _report(data, *more):
    return system.run(["perf", "report", "-i", data, "--stdio", "--no-children", "--percent-limit", "0.3", *more])
