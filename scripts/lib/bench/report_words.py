# SPDX-License-Identifier: Apache-2.0
# What the page says in words, each number taken from the run: the first sentence, the four tiles, the sceptic's questions.
import math

from .report_data import BASE, COLUMNS, HERO, amount, figures, row_name
from .report_figures import difference, dot, series
from .report_html import element

ENOUGH_ROUNDS = 3  # fewer say nothing of how far rounds lie apart
BY_NAME = {column.name: column for column in COLUMNS}
# Column, title, what the difference to no mesh means. A µs each is a millicore at 1000 a second.
TILES = (("rr1_p50_us", "A small request takes", "{} µs on top of no mesh"),
         ("http16_cpu_us", "CPU of an HTTP request", "{} millicores on top at 1000 requests/s"),
         ("crr_cpu_us", "CPU of a new connection", "{} millicores on top at 1000 connections/s"),
         ("idle_rss_mb", "Memory of a node's daemon", None))


def tiles(run):
    """The four numbers that people ask for first: ours large, the others beside it."""
    made = [tile(run, BY_NAME[name], title, note) for name, title, note in TILES if run.one_core.cell(HERO, BY_NAME[name])]
    return element("div", made, class_="tiles") if made else None


def tile(run, column, title, meaning):
    section = run.one_core
    ours, none = section.cell(HERO, column), section.cell(BASE, column)
    others = [(row, cell) for row in section.rows() if row != HERO and (cell := section.cell(row, column))]
    return element("div", element("h4", title), element("p", element("b", figures(ours.median)), " ", column.unit, class_="big"),
                   element("small", meaning.format(figures(ours.median - none.median))) if meaning and none else element("small", "idle" if not meaning else ""),
                   element("ul", [element("li", dot(*series(section, row)), row_name(row), " ", element("b", figures(cell.median))) for row, cell in others]),
                   class_="tile")


def lead(run):
    """What stands against what."""
    rows = run.one_core.rows()
    others = {BASE: "no mesh at all", "iptables": "the same proxy behind Istio's iptables rules"}
    said = [others.get(row, row) for row in rows if row != HERO]
    if HERO not in rows or not said:
        return None
    return element("p", "Two pods talk through Culvert, captured by eBPF, with mutual TLS between their nodes. Set against: ", "; ".join(said),
                   ". One run, one machine, turn by turn.", class_="lead")


def listed(words):
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def names(columns):
    return listed([column.name for column in columns])


def noise(run, other):
    """Whether eBPF and the other differ by more than their rounds do among themselves."""
    section, better, worse, unsure, fewest = run.one_core, [], [], [], math.inf
    for column in run.columns:
        ours, theirs = section.cell(HERO, column), section.cell(other, column)
        if not ours or not theirs:
            continue
        fewest = min(fewest, ours.rounds or 0, theirs.rounds or 0)
        apart = ours.high < theirs.low or ours.low > theirs.high
        (unsure if not apart else better if (ours.median < theirs.median) != column.more_is_better else worse).append(column)
    total = len(better) + len(worse) + len(unsure)
    if not total:
        return None
    if fewest < ENOUGH_ROUNDS:
        return f"This run cannot tell: some columns have {fewest:g} round{'s' if fewest != 1 else ''}. Repeat it with more before you believe a small difference."
    said = [f"In {len(better)} of {total} columns the worst round of eBPF is better than the best round of {row_name(other)}"]
    if worse:
        said.append(f"; in {len(worse)} it is the other way round: {names(worse)}")
    if unsure:
        said.append(f"; in {len(unsure)} the rounds overlap, so take those as equal: {names(unsure)}")
    return "".join(said) + "."


def losses(run):
    """Where eBPF is the worse choice, said before anybody has to look for it."""
    said = []
    for other in run.one_core.meshes():
        if other == HERO:
            continue
        worse = [(cost.median, column) for column in run.columns if (cost := run.one_core.cost(HERO, other, column)) and cost.median > 1.05]
        words = [f"{column.name} {difference(cost)}" for cost, column in sorted(worse, key=lambda each: -each[0])]
        said.append(f"Against {row_name(other)}: {listed(words) if words else 'in no column by more than 5 %'}.")
    return " ".join(said) or None


def questions(run, limits):
    """Asked and answered, right under the first figure."""
    asked = []
    if "iptables" in run.one_core.rows() and HERO in run.one_core.rows():
        asked.append(("Is the difference larger than the noise?", noise(run, "iptables")))
    asked.append(("Where does eBPF lose?", losses(run)))
    asked.append(("Does it do what it set out to do?", kept(run, limits)))
    asked.append(("What is in a number?", "CPU is everybody's: client, server, both proxies and what the kernel does for them. What the apps would have burnt "
                  "anyway is in every row. No mesh has no proxy, no encryption, no policy and no access log."))
    asked.append(("Will my nodes see this?", "Ratios travel better than microseconds. Here two nodes are namespaces of one machine, joined by a cable of "
                  "software; a real network and a real application add the same to every row, so yours will lie nearer to 1×."))
    asked.append(("Can I have it from my own machine?", "Run the command above with --html FILE: it needs root and two cores, takes minutes, and writes this page."))
    return element("dl", [element("div", element("dt", question), element("dd", answer)) for question, answer in asked if answer], class_="asked")


def kept(run, limits):
    """Our own limits, one sentence: how many hold and which do not."""
    if not limits.verdicts:
        return None
    missed = [f"{verdict.what} {figures(verdict.value)}{verdict.unit}, {'at least' if verdict.higher else 'at most'} {figures(verdict.bar)}{verdict.unit}"
              for verdict in limits.verdicts if not verdict.ok]
    count, of = len(limits.verdicts), "limits that the project set itself" + (", loosened for a quick run," if run.machine.get("quick") else "")
    if not missed:
        return f"All {count} {of} hold; the black ticks in the figures are those that are ratios."
    return f"{count - len(missed)} of {count} {of} hold. Missed: {'; '.join(missed)}."
