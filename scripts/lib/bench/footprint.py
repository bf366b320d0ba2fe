# SPDX-License-Identifier: Apache-2.0
# What a daemon costs without load: its memory, idle and with connections open; how long a pod takes to join.
import time

from . import system

CONNECTIONS = 1000


def memory(row, times):
    """(idle, growth per 1000 idle connections) of the larger daemon, from freshly started ones each time; lists, in MB."""
    idle, growth = [], []
    for _ in range(times):
        row.restart_proxies()
        before = _settled(row)
        held = row.hold(CONNECTIONS)
        after = _settled(row)
        held.close()
        idle.append(max(before.values()))
        growth.append(max(after[pid] - before[pid] for pid in before) * 1000 / CONNECTIONS)
    return idle, growth


def enrolments(row, times):
    """Milliseconds of single enrolments, as the daemon's own histogram says: the growth of its sum, one pod at a time."""
    proxies, took = row.proxies, []
    for _ in range(times):
        before = _enrolled(proxies)
        proxies.write_config(1, also=[row.lab.guest])
        after = _wait(lambda now: now[0] > before[0], proxies, "joined")
        took.append((after[1] - before[1]) * 1000 / (after[0] - before[0]))
        proxies.write_config(1)
        _wait(lambda now: now[2] < after[2], proxies, "left")
    return took


def _enrolled(proxies):
    samples = proxies.metrics(1)
    return (samples["culvert_capture_enrolment_seconds_count"], samples["culvert_capture_enrolment_seconds_sum"],
            samples["culvert_capture_pods"])


def _wait(come_true, proxies, what):
    until = time.monotonic() + 10
    while True:
        now = _enrolled(proxies)
        if come_true(now):
            return now
        if time.monotonic() > until:
            proxies.check()
            raise system.Trouble(f"the pod that was written into the file has not {what} after 10 s")
        time.sleep(0.01)


def _settled(row):
    """Memory by process, once it stands still for 0.3 s."""
    before, until = {}, time.monotonic() + 5
    while True:
        row.proxies.check()
        now = {pid: system.rss_mb(pid) for pid in row.proxies.daemon_pids}
        if now == before or time.monotonic() > until:
            return now
        before = now
        time.sleep(0.3)
