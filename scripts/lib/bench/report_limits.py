# SPDX-License-Identifier: Apache-2.0
# The bars (judge.py holds them) as the page needs them: ticks on a cost scale, and how many hold.
from .judge import judge
from .report_data import mapping, number


def cleaned(results):
    """What judge() takes for granted, of a file that may hold anything."""
    rows, ratios, machine = (mapping(results.get(part)) for part in ("rows", "ratios", "machine"))
    return {
        "rows": {row: {name: cell for name, cell in mapping(cells).items() if number(mapping(cell).get("median")) is not None}
                 for row, cells in rows.items()},
        "ratios": {pair: {name: ratio for name, ratio in mapping(found).items() if number(ratio) is not None}
                   for pair, found in ratios.items()},
        "machine": {**machine, "openssl": mapping(machine.get("openssl"))},
    }


class Limits:
    def __init__(self, results):
        self.verdicts, _ = judge(cleaned(mapping(results)))
        self.ticks = {}  # (row that eBPF is measured by, column): the cost that it should not pass
        for verdict in self.verdicts:
            pair, column = verdict.what.split()
            if "/" in pair:
                self.ticks[pair.split("/")[1], column] = 1 / verdict.bar if verdict.higher else verdict.bar
