# SPDX-License-Identifier: Apache-2.0
# Rounds: every row in turn, there and back (ABBA), so that whatever drifts drifts for all of them.
from statistics import median

FOREIGN_LIMIT = 0.10  # of our own time, that somebody else may have used


class Polluted:
    """How often somebody else was too busy: runs thrown away, and runs kept because no quiet one could be had."""

    def __init__(self, rows, patience):
        self.dropped = {row.name: 0 for row in rows}
        self.kept = {row.name: 0 for row in rows}
        self._foreign = []
        self._patience = patience  # repetitions that the whole run may spend

    def quiet_sample(self, row, take):
        """A run that was ours alone, or the least bad of three."""
        best = take()
        for _ in range(2):
            if best.foreign <= FOREIGN_LIMIT or self._patience == 0:
                break
            self._patience -= 1
            self.dropped[row.name] += 1
            best = min(best, take(), key=lambda sample: sample.foreign)
        if best.foreign > FOREIGN_LIMIT:
            self.kept[row.name] += 1
        self._foreign.append(best.foreign)
        return best

    @property
    def foreign(self):
        """What others used beside the runs that count: the median, as a part of ours."""
        return median(self._foreign) if self._foreign else None

    @property
    def noisy(self):
        return any(self.kept.values())


def play(rows, measure, seconds, count, polluted, progress):
    """{row: [sample of each round]} of one measure."""
    samples = {row.name: [] for row in rows}
    for number in range(count):
        for row in rows if number % 2 == 0 else reversed(rows):
            progress(number, row)
            samples[row.name].append(polluted.quiet_sample(row, lambda: measure(row, seconds)))
    return samples
