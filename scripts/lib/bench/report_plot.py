# SPDX-License-Identifier: Apache-2.0
# The strokes that every figure is made of: scales, and lanes with a stick, a whisker and a mark in them.
#
# Places along a lane are percentages and sizes are pixels, so one drawing fits a phone and a desk: nothing is scaled,
# and text stays as large as text.
import math

from .report_html import element

STEPS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 70, 100, 200, 500, 1000)
SHAPES = ("M-5.5,0A5.5,5.5 0 1 1 5.5,0A5.5,5.5 0 1 1 -5.5,0Z",      # round: ours
          "M-4,-4H4V4H-4Z",                                          # square: iptables
          "M0,-5.5L5.5,0L0,5.5L-5.5,0Z", "M0,-5L5,4H-5Z", "M-5,-4H5L0,5Z", "M-4.5,0H4.5M0,-4.5V4.5")


class LogScale:
    """Where a factor lies between 0 and 100 percent, each doubling as far as the other. Always holds 1."""

    def __init__(self, values):
        values = [value for value in values if value > 0] + [1]
        low, high = min(values), max(values)
        self.low, self.high = math.log(low / 1.04), math.log(max(high * 1.04, low * 2.2))
        self.steps = thinned([step for step in STEPS if self.low <= math.log(step) <= self.high], self)

    def at(self, factor):
        return (math.log(factor) - self.low) / (self.high - self.low) * 100


def thinned(steps, scale):
    """Those of the steps that leave each other room, 1 always among them."""
    kept = []
    for step in sorted(steps, key=lambda step: (step != 1, abs(math.log2(step) % 1), step)):
        if all(abs(scale.at(step) - scale.at(other)) > 5.5 for other in kept):
            kept.append(step)
    return sorted(kept)


class ZeroScale:
    """From nothing to the greatest value."""

    def __init__(self, values):
        self.high = max([value for value in values if value > 0], default=1)

    def at(self, value):
        return max(0.0, value / self.high * 100)


def percent(share):
    return f"{share:.2f}%"


def across(x, top, bottom, kind):
    return element("line", x1=percent(x), x2=percent(x), y1=top, y2=bottom, class_=kind)


def along(start, end, y, kind):
    return element("line", x1=percent(min(start, end)), x2=percent(max(start, end)), y1=y, y2=y, class_=kind)


def bar(start, end, y, thickness, kind):
    return element("rect", x=percent(start), width=percent(max(end - start, 0)), y=y - thickness / 2, height=thickness,
                   class_=kind)


def mark(x, y, shape, kind="mark"):
    shape = element("path", d=SHAPES[shape % len(SHAPES)], class_=kind)
    return element("svg", shape, x=percent(x), y=y, overflow="visible")


def whisker(low, high, y):
    """From the best round to the worst; nothing where they are the same."""
    if high - low < 0.05:
        return None
    return [along(low, high, y, "whisker"), across(low, y - 3, y + 3, "whisker"), across(high, y - 3, y + 3, "whisker")]


def drawing(height, label, *inside, kind="plot"):
    return element("svg", *inside, class_=kind, width="100%", height=height, role="img", aria_label=label)


def decoration(height, *inside, kind="plot"):
    return element("svg", *inside, class_=kind, width="100%", height=height, aria_hidden="true")
