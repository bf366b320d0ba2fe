# SPDX-License-Identifier: Apache-2.0
# Flat or not: the first minute against the last one, what must be zero, and what is held when nothing runs.
import statistics

# By a part of a figure's name: which statistic of a minute is compared, and how much more the last may be: absolute,
# and in parts of the first. Under load sockets come and go; what a daemon is made of does not. Bytes in flight are a few
# or 50 MB, as bulk meets readers that stall: what nobody will ever take shows as a floor that rises.
SLACKS = {
    "rss_kb": ("median", 1024, 0.03), "anon_kb": ("median", 1024, 0.03), "threads": ("max", 0, 0),
    "pins": ("max", 0, 0), "map.": ("median", 32, 0.10), "fds": ("median", 30, 0.15),
    "connections_open": ("median", 30, 0.15), "tunnels_in_open": ("max", 8, 0.10), "tunnels_out_open": ("max", 8, 0.10),
    "tcp_sockets": ("median", 100, 0.15), "socket_bytes": ("min", 1 << 20, 0),
    "machine.tcp_pages": ("min", 512, 0), "close_wait": ("median", 20, 0.5),
}
# Without load, after a short first one and after the soak. Tunnels are kept for a while, so descriptors are counted
# without theirs. Memory once used is kept, too: whether it grows is seen under load.
QUIET_SLACKS = {
    "rss_kb": (8192, 0), "anon_kb": (8192, 0), "threads": (0, 0), "pins": (0, 0), "map.": (0, 0), "own_fds": (0, 0),
    "connections_open": (0, 0), "socket_bytes": (1 << 20, 0), "close_wait": (0, 0),
}
# A soak without a whole minute ends while memory and tunnels still find their level: what it shows is errors, and what
# is held for nothing.
BRIEF = {"rss_kb": 16384, "anon_kb": 16384, "tunnels_in_open": 200, "tunnels_out_open": 200, "fds": 250,
         "tcp_sockets": 1000, "tcp_pages": 1 << 16, "socket_bytes": 1 << 26, "close_wait": 200}
# Filled by what comes along, and bounded: the oldest row goes.
LRU = ("cv_probes", "cv_legs")

ZERO_COUNTERS = [
    ("culvert_access_log_dropped_total", ""), ("culvert_access_log_lost_total", ""),
    ("culvert_access_log_write_errors_total", ""),
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


def result(about, series, began, ended, quiet, pages, jobs, resets, held, still_open=()):
    minute = min(60.0, (ended - began) / 4)
    first = _windows(series, began + minute, began + 2 * minute)
    last = _windows(series, ended - minute, ended)
    zero = _zero(pages, jobs, resets, held)
    done = _done(pages, jobs, resets)
    quiet = {"before": _without_tunnels(quiet[0]), "after": _without_tunnels(quiet[1])}
    brief = BRIEF if minute < 60 else {}
    why = [*_grown(first, last, brief), *_kept(quiet, brief)]
    why += [f"{name}: {count}, must be 0" for name, count in zero.items() if count]
    why += [f"{name}: nothing was done" for name, count in done.items() if not count]
    why += [f"{job.name}: {words}" for job in jobs if job.strict for words in job.words]
    why += [f"resets: {words}" for words in resets["words"]] + ([held] if held else [])
    return {"seconds": round(ended - began, 1), "minute": minute, "machine": about, "first": first, "last": last,
            "growth": {name: last[name]["median"] - first[name]["median"] for name in first if name in last},
            "by_minute": _by_minute(series, began, ended), "quiet": quiet, "must_be_zero": zero, "done": done, "closed": _closed(pages), "still_open": list(still_open), "flat": not why, "why": why}


def show(result):
    print(f"\n{'':34} {'first minute':>24} {'last minute':>24} {'growth':>10}   quiet before, after")
    for name, first in result["first"].items():
        last = result["last"].get(name, first)
        before, after = (result["quiet"][when].get(name) for when in ("before", "after"))
        print(f"{name:34} {_span(first):>24} {_span(last):>24} {_short(result['growth'].get(name, 0)):>10}"
              f"   {_short(before)}, {_short(after)}")
    print("\ndone: " + "; ".join(f"{name} {_short(count)}" for name, count in result["done"].items()))
    print("closed: " + "; ".join(f"{reason} {_short(count)}" for reason, count in result["closed"].items() if count))
    broken = [f"{name} {_short(count)}" for name, count in result["must_be_zero"].items() if count]
    print(f"must be zero: {'; '.join(broken) or 'all are'}")
    for name in ("n1.anon_kb", "n2.anon_kb"):
        print(f"{name}, minute by minute: {' '.join(map(_short, result['by_minute'][name]))}")
    print(f"\n{'flat' if result['flat'] else 'NOT FLAT'} after {result['seconds']:.0f} s with capture: "
          f"{result['machine']['capture']}")
    for line in result["why"]:
        print(f"   {line}")
    for line in result["still_open"]:
        print(f"   still open: {' '.join(line.split())}")


def _windows(series, begin, end):
    """Of each figure: median, minimum and maximum between two moments."""
    table = {}
    for name, points in series.items():
        values = [value for when, value in points if begin <= when <= end]
        if values:
            table[name] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return table


def _by_minute(series, began, ended):
    """The medians of every minute, as far as there are whole ones."""
    minutes = [(began + 60 * n, began + 60 * (n + 1)) for n in range(int((ended - began) // 60))]
    return {name: [table[name]["median"] for table in (_windows({name: points}, *minute) for minute in minutes)
                   if name in table] for name, points in series.items()}


def _grown(first, last, brief):
    for name, before in first.items():
        statistic, *slack = _slack(SLACKS, name)
        if name in last and _is_more(last[name][statistic], before[statistic], name, slack, brief):
            yield (f"{name}: its {statistic} grew from {_short(before[statistic])} in the first minute to "
                   f"{_short(last[name][statistic])} in the last")


def _kept(quiet, brief):
    for name, before in quiet["before"].items():
        if not any(key in name for key in QUIET_SLACKS) or any(name.endswith(lru) for lru in LRU):
            continue
        if _is_more(quiet["after"][name], before, name, _slack(QUIET_SLACKS, name), brief):
            yield f"{name}: {_short(before)} without load before the soak, {_short(quiet['after'][name])} after it"


def _is_more(after, before, name, slack, brief):
    absolute, part = slack
    more = brief.get(name.rpartition(".")[2], 0)
    return after - before > max(absolute, part * before, more)


def _without_tunnels(taken):
    own = {}
    for node in ("n1", "n2"):
        tunnels = taken[f"{node}.tunnels_in_open"] + taken[f"{node}.tunnels_out_open"]
        own[f"{node}.own_fds"] = taken[f"{node}.fds"] - tunnels
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


def _closed(pages):
    """How connections ended, by reason, of both daemons."""
    closed = {}
    for page in pages:
        for (name, reason), count in page.items():
            if name == "culvert_proxy_connections_closed_total":
                closed[reason] = closed.get(reason, 0) + count
    return closed


def _slack(slacks, name):
    return next(slack for key, slack in slacks.items() if key in name)


def _span(figures):
    return f"{_short(figures['median'])} ({_short(figures['min'])}-{_short(figures['max'])})"


def _short(value):
    return "-" if value is None else f"{value:.10g}"
