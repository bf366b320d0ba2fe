# SPDX-License-Identifier: Apache-2.0
# What a result file says, and how to call it: columns with their words, rows with their names, ratios as costs.
#
# A *cost* is how many times worse than the base: 2 is twice the microseconds or half the requests, whichever way the
# column counts. So in every figure that shows costs, less is better.
import math
from typing import NamedTuple, Optional


class Column(NamedTuple):
    name: str
    group: str
    title: str
    what: str
    unit: str
    more_is_better: bool = False

    @property
    def in_full(self):
        """For where the group is not in sight."""
        kind = {"CPU": "CPU, ", "CPU, both pods on one node": "CPU, one node, ", "Rate": "rate, "}.get(self.group, "")
        return f"{kind}{self.what}"


COLUMNS = (
    Column("rr1_p50_us", "Latency", "A small request", "median time, one at a time", "µs"),
    Column("rr1_p99_us", "Latency", "A slow one", "its 99th percentile", "µs"),
    Column("rr1_cpu_us", "CPU", "Small request", "each, 1 connection", "µs"),
    Column("rr16_cpu_us", "CPU", "Small request", "each, 16 connections", "µs"),
    Column("http16_cpu_us", "CPU", "HTTP request", "each, 16 connections", "µs"),
    Column("crr_cpu_us", "CPU", "New connection", "each, its tunnel is there", "µs"),
    Column("tunnel_cpu_us", "CPU", "New tunnel", "each, with its handshake", "µs"),
    Column("bulk_cpu_s_per_gb", "CPU", "Bulk transfer", "per gigabyte", "s/GB"),
    Column("http16_rps", "Rate", "HTTP requests", "per second, 16 connections", "/s", True),
    Column("stream1k_gbit", "Rate", "Writes of 1000 bytes", "1 connection, flat out", "Gbit/s", True),
    Column("bulk_gbit", "Rate", "Bulk transfer", "1 connection, flat out", "Gbit/s", True),
    Column("samenode_rr16_cpu_us", "CPU, both pods on one node", "Small request", "each, 16 connections", "µs"),
    Column("samenode_bulk_cpu_s_per_gb", "CPU, both pods on one node", "Bulk transfer", "per gigabyte", "s/GB"),
    Column("idle_rss_mb", "Memory and joining", "Memory, idle", "resident, one daemon", "MB"),
    Column("rss_per_1000_conns_mb", "Memory and joining", "1000 idle connections", "resident, one daemon", "MB"),
    Column("enrol_p50_ms", "Memory and joining", "A pod joins", "median time until it is in", "ms"),
)

ROW_NAMES = {"direct": "no mesh", "iptables": "iptables mode", "ebpf": "eBPF", "vs": "eBPF, the other build"}
HERO = "ebpf"
BASE = "direct"


class Cell(NamedTuple):
    median: float
    low: float
    high: float
    rounds: Optional[int]


def number(thing):
    """A finite number, or None."""
    if isinstance(thing, bool) or not isinstance(thing, (int, float)) or not math.isfinite(thing):
        return None
    return thing


def mapping(thing):
    return thing if isinstance(thing, dict) else {}


def figures(value):
    """Three digits that matter: 0.253, 10.3, 2,200."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 1:
        return f"{value:.1f}" if size >= 9.995 else f"{value:.2f}"
    return f"{value:#.3g}" if size >= 0.001 else f"{value:.1e}"


def times(factor):
    return f"{factor:,.0f}×" if factor >= 9.95 else f"{factor:.1f}×" if factor >= 1.95 else f"{factor:.2f}×"


class Section:
    """One pinning of a run: its cells and its ratios. Never throws for what is not there: None."""

    def __init__(self, rows, ratios):
        self._rows = {row: mapping(cells) for row, cells in mapping(rows).items()}
        self._ratios = mapping(ratios)

    def rows(self):
        """Every row, ours first: no mesh, eBPF, iptables, then the peers as the file has them."""
        ours = [row for row in (BASE, HERO, "iptables") if row in self._rows]
        return ours + [row for row in self._rows if row not in ours]

    def meshes(self):
        return [row for row in self.rows() if row != BASE]

    def cell(self, row, column):
        found = mapping(self._rows.get(row, {}).get(column.name))
        median = number(found.get("median"))
        if median is None:
            return None
        low, high = number(found.get("min")), number(found.get("max"))
        return Cell(median, median if low is None else low, median if high is None else high,
                    number(found.get("rounds")))

    def cost(self, row, base, column):
        """Cell of how many times worse row is than base. The middle is the median of the pair ratios where the file has it;
        the ends are the row's best and worst round over the median of the base."""
        mine, other = self.cell(row, column), self.cell(base, column)
        if mine is None or other is None or min(mine.low, other.median) <= 0:
            return None
        middle = self._ratio(row, base, column) or mine.median / other.median
        ends = (mine.low / other.median, middle, mine.high / other.median)
        if column.more_is_better:
            ends = tuple(1 / end for end in ends)
        return Cell(1 / middle if column.more_is_better else middle, min(ends), max(ends), mine.rounds)

    def _ratio(self, row, base, column):
        """The median of the pair ratios, whichever way round the file has it; None where it has none."""
        straight = number(mapping(self._ratios.get(f"{row}/{base}")).get(column.name))
        turned = number(mapping(self._ratios.get(f"{base}/{row}")).get(column.name))
        return straight if straight and straight > 0 else 1 / turned if turned and turned > 0 else None


class Run:
    def __init__(self, results):
        results = mapping(results)
        self.machine = mapping(results.get("machine"))
        self.one_core = Section(results.get("rows"), results.get("ratios"))
        split = mapping(results.get("split"))
        self.split = Section(split.get("rows"), split.get("ratios"))
        self.proxies = Section(results.get("proxies"), {})
        known = {column.name for column in COLUMNS}
        found = dict.fromkeys(name for rows in (results.get("rows"), split.get("rows"))
                              for cells in mapping(rows).values() for name in mapping(cells))
        self.columns = COLUMNS + tuple(unknown_column(name, results) for name in found if name not in known)

    def about(self, key, row):
        """What machine[key] says of one row; a plain value is said of all of them."""
        value = self.machine.get(key)
        return value.get(row) if isinstance(value, dict) else value


def unknown_column(name, results):
    """A column that a newer bench writes: shown under its own name."""
    cells = (mapping(mapping(row).get(name)) for row in mapping(results.get("rows")).values())
    unit = next((str(cell["unit"]) for cell in cells if cell.get("unit")), "")
    return Column(name, "Other", name, "", unit, name.endswith(("_rps", "_gbit")))


def row_name(row):
    return ROW_NAMES.get(row, row)


def amount(column, value):
    return f"{figures(value)}{'' if column.unit.startswith('/') else ' '}{column.unit}"


def why_empty(row, column):
    """Why a cell may have no number, as far as the names alone tell."""
    if row == BASE and column.group == "Memory and joining":
        return "there is no proxy to look at"
    if row == BASE and column.name == "tunnel_cpu_us":
        return "there is no tunnel to open"
    if row not in ROW_NAMES and column.name == "enrol_p50_ms":
        return "its own script let the pods join, which nobody timed"
    return "not measured in this run, or every round of it was dropped"
