# SPDX-License-Identifier: Apache-2.0
# What the page says in words, each number taken from the run: what stands against what, the four tiles, the sceptic's
# questions.
import math

from .report_data import BASE, COLUMNS, HERO, figures, mapping, number, row_name, times
from .report_figures import difference
from .report_html import b, div, element, li, p, small, ul
from .report_marks import dot, series

ENOUGH_ROUNDS = 3  # fewer say nothing of how far rounds lie apart
BY_NAME = {column.name: column for column in COLUMNS}
# Column, title, what the difference to no mesh means. A µs each is a millicore at 1000 a second.
TILES = (("rr1_p50_us", "A small request takes", "{} µs on top of no mesh"),
         ("http16_cpu_us", "CPU of an HTTP request", "{} millicores on top at 1000 requests/s"),
         ("crr_cpu_us", "CPU of a new connection", "{} millicores on top at 1000 connections/s"),
         ("idle_rss_mb", "Memory of a node's daemon", None))
MACHINE = (("cpu", "{}"), ("cores", "cores: {}"), ("memory_gb", "{} GB"), ("kernel", "Linux {}"),
           ("congestion_control", "TCP {}"), ("load", "load {}"), ("date", "{}"), ("commit", "commit {}"))


def lead(run):
    """What stands against what."""
    rows = run.one_core.rows()
    others = {BASE: "no mesh at all", "iptables": "the same proxy behind Istio's iptables rules"}
    said = [others.get(row, row_name(row)) for row in rows if row != HERO]
    if HERO not in rows or not said:
        return None
    return p("Two pods talk through Culvert, captured by eBPF, with mutual TLS between their nodes. Set against: ",
             "; ".join(said), ". One run, one machine, turn by turn.", class_="lead")


def machine_line(run):
    """On what, when, of which build, and how to do it again."""
    facts = [li(words.format(value)) for key, words in MACHINE if (value := run.machine.get(key)) not in (None, "", [], {})]
    command = run.machine.get("command")
    return div(warning(run), ul(facts, class_="facts") if facts else None,
               element("pre", element("code", command), class_="command", tabindex=0,
                       aria_label="the command of this run") if command else None, class_="machine")


def warning(run):
    """What makes this run a worse witness than others."""
    said = []
    if run.machine.get("quick"):
        said.append("A quick run: good for finding what broke, too short for figures to quote.")
    if run.machine.get("noisy"):
        kept = sum(number(count) or 0 for count in mapping(run.machine.get("kept_noisy")).values())
        said.append(f"A noisy machine: {kept or 'some'} rounds were kept although somebody else used more than a tenth of "
                    "our time, because no quiet ones could be had.")
    return p(" ".join(said), class_="warning") if said else None


def tiles(run):
    """The four numbers that people ask for first: ours large, the others beside it."""
    found = [(BY_NAME[name], title, meaning) for name, title, meaning in TILES]
    made = [tile(run.one_core, *each) for each in found if run.one_core.cell(HERO, each[0])]
    return div(made, class_="tiles") if made else None


def tile(section, column, title, meaning):
    ours, none = section.cell(HERO, column), section.cell(BASE, column)
    others = [(row, cell) for row in section.rows() if row != HERO and (cell := section.cell(row, column))]
    if not meaning:
        note = "idle"
    else:
        note = meaning.format(figures(ours.median - none.median)) if none else None
    return div(element("h4", title), p(b(figures(ours.median)), " ", column.unit, class_="big"), small(note),
               ul(li(dot(*series(section, row)), row_name(row), " ", b(figures(cell.median))) for row, cell in others),
               class_="tile")


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
        if ours.low <= theirs.high and theirs.low <= ours.high:
            unsure.append(column)
        else:
            (better if (ours.median < theirs.median) != column.more_is_better else worse).append(column)
    if fewest == math.inf:
        return None
    if fewest < ENOUGH_ROUNDS:
        return (f"This run cannot tell: some columns have {fewest:g} round{'s' if fewest != 1 else ''}. Repeat it with more "
                "before you believe a small difference.")
    total = len(better) + len(worse) + len(unsure)
    said = f"In {len(better)} of {total} columns the worst round of eBPF is better than the best of {row_name(other)}"
    if worse:
        said += f"; in {len(worse)} it is the other way round: {names(worse)}"
    if unsure:
        said += f"; in {len(unsure)} the rounds overlap, so take those as equal: {names(unsure)}"
    return said + "."


def losses(run):
    """Where eBPF is the worse choice, said before anybody has to look for it."""
    said = []
    for other in run.one_core.meshes():
        costs = {column: run.one_core.cost(HERO, other, column) for column in run.columns} if other != HERO else {}
        worse = {column.name: cost.median for column, cost in costs.items() if cost and cost.median > 1.05}
        words = [f"{name} {difference(worse[name])}" for name in sorted(worse, key=worse.get, reverse=True)]
        if any(costs.values()):
            said.append(f"Against {row_name(other)}: {listed(words) if words else 'in no column by more than 5 %'}.")
    return " ".join(said) or None


def wonder(run):
    """What looks too good to be true is explained, or else the rest is not believed either."""
    column = BY_NAME["stream1k_gbit"]
    cost = run.one_core.cost(HERO, BASE, column)
    if not cost or cost.high > 0.95:
        return None
    return (f"With small writes ({column.name}, {times(cost.median)} the time), yes: the proxy reads many of them at once and sends "
            "them on as large ones, so the far side is woken less often. That can outweigh what the mesh costs.")


def kept(run, limits):
    """Our own limits, one sentence: how many hold and which do not."""
    if not limits.verdicts:
        return None
    missed = [f"{each.what} {figures(each.value)}{each.unit}, {'at least' if each.higher else 'at most'} "
              f"{figures(each.bar)}{each.unit}" for each in limits.verdicts if not each.ok]
    count = len(limits.verdicts)
    what = "limits that the project set itself" + (", loosened for a quick run," if run.machine.get("quick") else "")
    if not missed:
        return f"All {count} {what} hold; the black ticks in the figures are those that are ratios."
    return f"{count - len(missed)} of {count} {what} hold. Missed: {'; '.join(missed)}."


def questions(run, limits):
    """Asked and answered, right under the first figure."""
    asked = (
        ("Is the difference larger than the noise?", noise(run, "iptables")),
        ("Where does eBPF lose?", losses(run)),
        ("Faster than no mesh, really?", wonder(run)),
        ("Does it do what it set out to do?", kept(run, limits)),
        ("What is in a number?",
         "CPU is everybody's: client, server, both proxies and what the kernel does for them. What the apps would have burnt "
         "anyway is in every row. No mesh has no proxy, no encryption, no policy and no access log."),
        ("Will my nodes see this?",
         "Ratios travel better than microseconds. Here two nodes are namespaces of one machine, joined by a cable of software; "
         "a real network and a real application add the same to every row, so yours will lie nearer to 1×."),
        ("Can I have it from my own machine?",
         "Run the command above with --html FILE: it needs root and two cores, takes minutes, and writes this page."),
    )
    return element("dl", [div(element("dt", question), element("dd", answer)) for question, answer in asked if answer],
                   class_="asked")
