# SPDX-License-Identifier: Apache-2.0
# Samples become the result: medians, minima and maxima of each row, medians of the ratios of pairs.
from statistics import median

from .measures import UNITS


class Table:
    """One pinning: values by row and column, a list with an entry a round."""

    def __init__(self, row_names):
        self.names = row_names
        self.values = {name: {} for name in row_names}
        self.proxies = {name: {} for name in row_names}

    def add(self, samples):
        for name, taken in samples.items():
            for sample in taken:
                for into, values in ((self.values, sample.values), (self.proxies, sample.proxies)):
                    for column, value in values.items():
                        into[name].setdefault(column, []).append(value)

    def put(self, name, column, values):
        self.values[name][column] = list(values)

    def rows(self, columns):
        return {name: {column: summary(self.values[name].get(column), column) for column in columns}
                for name in self.names}

    def proxies_alone(self, columns):
        return {name: {column: summary(self.proxies[name].get(column), column) for column in columns
                       if "_cpu_" in column} for name in self.names if name != "direct"}

    def ratios(self, columns):
        return {f"{one}/{other}": {column: self._ratio(one, other, column) for column in columns}
                for one, other in pairs(self.names)}

    def _ratio(self, one, other, column):
        ours, theirs = self.values[one].get(column), self.values[other].get(column)
        if not ours or not theirs:
            return None
        if len(ours) != len(theirs):
            return median(ours) / median(theirs) if median(theirs) else None
        together = [a / b for a, b in zip(ours, theirs) if b > 0]
        return median(together) if together else None


def summary(values, column):
    if not values:
        return None
    return {"median": median(values), "min": min(values), "max": max(values), "rounds": len(values),
            "unit": UNITS[column]}


def pairs(names):
    """Everyone against direct, then against iptables and against ebpf, each pair once."""
    base = [name for name in ("direct", "iptables", "ebpf") if name in names]
    found = [(name, "direct") for name in names if name != "direct" and "direct" in base]
    if "iptables" in base and "ebpf" in base:
        found.append(("ebpf", "iptables"))
    others = [name for name in names if name not in ("direct", "iptables", "ebpf")]
    for name in others:
        # An optimiser asks what the other binary does to ours; a peer's user what we are against the peer.
        if "ebpf" in base:
            found.append((name, "ebpf") if name == "vs" else ("ebpf", name))
        if "iptables" in base and name != "vs":
            found.append(("iptables", name))
    return found
