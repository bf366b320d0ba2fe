# SPDX-License-Identifier: Apache-2.0
# Flat or not: the first minute against the last one, what must be zero, and what is held when nothing runs.
import statistics

# By the end of a figure's name: which statistic of a minute is compared, how much more the last may be: absolute, and in
# parts of the first. Under load sockets come and go; what a daemon is made of does not.
SLACKS = {
    "rss_kb": ("median", 1024, 0.03), "anon_kb": ("median", 1024, 0.03), "threads": ("max", 0, 0),
    "pins": ("max", 0, 0), "map.": ("median", 32, 0.10), "fds": ("median", 30, 0.15),
    "connections_open": ("median", 30, 0.15), "tunnels_in_open": ("max", 8, 0.10), "tunnels_out_open": ("max", 8, 0.10),
    "tcp_sockets": ("median", 100, 0.15), "socket_bytes": ("median", 4 << 20, 0.5),
    "machine.tcp_pages": ("median", 2048, 0.5), "close_wait": ("median", 20, 0.5),
}
# Without load. Tunnels are kept for a while, so descriptors are counted without theirs.
QUIET_SLACKS = {
    "rss_kb": (1024, 0.05), "anon_kb": (1024, 0.05), "threads": (0, 0), "pins": (0, 0), "map.": (0, 0), "own_fds": (0, 0),
    "connections_open": (0, 0), "socket_bytes": (1 << 20, 0), "close_wait": (0, 0),
}
# Filled by what comes along, and bounded: the oldest row goes.
LRU = ("cv_probes", "cv_legs")

ZERO_COUNTERS = [
    ("culvert_access_log_dropped_total", ""), ("culvert_access_log_lost_total", ""),
    ("culvert_access_log_write_errors_total", ""), ("culvert_proxy_flows_unlisted_total", ""),
    ("culvert_proxy_accept_errors_total", ""), ("culvert_proxy_ping_timeouts_total", ""),
    ("culvert_proxy_tunnels_out_failed_total", ""), ("culvert_certificate_failures_total", ""),
    *(("culvert_proxy_connections_closed_total", reason)
      for reason in ("no_route", "not_ready", "handshake_failed", "refused_by_peer", "bad_request", "over_limit")),
    *(("culvert_capture_decisions_total", reason)
      for reason in ("CONNECT_NO_STORAGE", "CONNECT_MARK_FAILED", "FLOWS_FULL", "DROP_NO_LISTENER", "DROP_ASSIGN_FAILED",
                     "GUARD_CAPTURED", "GUARD_UNREADABLE", "GUARD_FORGED")),
]
DONE_COUNTERS = [("culvert_config_reloads_total", "good"), ("culvert_config_reloads_total", "bad"),
                 ("culvert_certificate_renewals_total", ""), ("culvert_capture_enrolment_seconds_count", ""),
                 ("culvert_access_log_written_total", "")]


def result(about, series, began, ended, quiet, pages, jobs, resets, held, reloads):
    minute = min(60.0, (ended - began) / 4)
    first = _windows(series, began + minute, began + 2 * minute)
    last = _windows(series, ended - minute, ended)
    zero = _zero(pages, jobs, resets, held)
    done = _done(pages, jobs, resets)
    quiet = {"before": _without_tunnels(quiet[0]), "after": _without_tunnels(quiet[1])}
    why = [*_grown(first, last), *_kept(quiet), *(f"{name}: {count}, must be 0" for name, count in zero.items() if count)]
    why += [f"{name}: nothing was done" for name, count in done.items() if not count]
    why += [f"{job.name}: {words}" for job in jobs if job.strict for words in job.words]
    why += [f"resets: {words}" for words in resets["words"]] + ([held] if held else [])
    return {"seconds": round(ended - began, 1), "minute": minute, "machine": about, "first": first, "last": last,
            "growth": {name: last[name]["median"] - first[name]["median"] for name in first if name in last},
            "quiet": quiet, "must_be_zero": zero, "done": done, "flat": not why, "why": why}


def show(result):
    print(f"\n{'':34} {'first minute':>24} {'last minute':>24} {'growth':>10}   quiet before, after")
    for name, first in result["first"].items():
        last = result["last"].get(name, first)
        before, after = (result["quiet"][when].get(name) for when in ("before", "after"))
        print(f"{name:34} {_span(first):>24} {_span(last):>24} {_short(result['growth'].get(name, 0)):>10}"
              f"   {_short(before)}, {_short(after)}")
    print("\ndone: " + "; ".join(f"{name} {_short(count)}" for name, count in result["done"].items()))
    print("must be zero: " + "; ".join(f"{name} {_short(count)}" for name, count in result["must_be_zero"].items() if count)
          or "none is more")
    print(f"\n{'flat' if result['flat'] else 'NOT FLAT'} after {result['seconds']:.0f} s with capture: "
          f"{result['machine']['capture']}")
    for line in result["why"]:
        print(f"   {line}")


def _windows(series, begin, end):
    """Of each figure: median, minimum and maximum between two moments."""
    table = {}
    for name, points in series.items():
        values = [value for when, value in points if begin <= when <= end]
        if values:
            table[name] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return table


def _grown(first, last):
    for name, before in first.items():
        statistic, absolute, part = _slack(SLACKS, name)
        grown = last[name][statistic] - before[statistic] if name in last else 0
        if grown > max(absolute, part * before[statistic]):
            yield (f"{name}: its {statistic} grew from {_short(before[statistic])} in the first minute to "
                   f"{_short(last[name][statistic])} in the last")


def _kept(quiet):
    for name, before in quiet["before"].items():
        if not any(key in name for key in QUIET_SLACKS) or any(name.endswith(lru) for lru in LRU):
            continue
        absolute, part = _slack(QUIET_SLACKS, name)
        if quiet["after"][name] - before > max(absolute, part * before):
            yield f"{name}: {_short(before)} without load before the soak, {_short(quiet['after'][name])} after it"


def _without_tunnels(taken):
    own = {f"n{node}.own_fds": taken[f"n{node}.fds"] - taken[f"n{node}.tunnels_in_open"] - taken[f"n{node}.tunnels_out_open"]
           for node in (1, 2)}
    return taken | own


def _zero(pages, jobs, resets, held):
    zero = {f"{name}{{{label}}}" if label else name: sum(page.get((name, label), 0) for page in pages)
            for name, label in ZERO_COUNTERS}
    zero["errors of the load"] = sum(job.errors for job in jobs if job.strict)
    zero["wrong ends of connections"] = resets["wrong"]
    zero["held connections that died"] = 1 if held else 0
    return zero


def _done(pages, jobs, resets):
    done = {job.name: job.ops for job in jobs}
    done |= {f"resets, {side}": resets.get(side, 0) for side in ("ours", "theirs", "well")}
    return done | {f"{name}{{{label}}}" if label else name: sum(page.get((name, label), 0) for page in pages)
                   for name, label in DONE_COUNTERS}


def _slack(slacks, name):
    return next(slack for key, slack in slacks.items() if key in name)


def _span(figures):
    return f"{_short(figures['median'])} ({_short(figures['min'])}-{_short(figures['max'])})"


def _short(value):
    return "-" if value is None else f"{value:.10g}"
