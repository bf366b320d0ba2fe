# SPDX-License-Identifier: Apache-2.0
# The parts of the page, in its order: a title, a sentence that says how to read it, a figure. None where there is nothing.
from .report_cards import cards, memory_figure
from .report_figures import cost_figure, versus_figure
from .report_html import b, element, li, p, span, ul
from .report_tables import empties, numbers_of, ran

METHOD = (
    "CPU is the time on a core of every thread of every process that takes part, as the scheduler counts it, over exactly "
    "the timed window.",
    "Rows take turns within each round, there and back, so a machine that warms up or slows down does so for all of them.",
    "A round in which somebody else took more than a tenth of our time is thrown away, counted below, and played again; "
    "where no quiet one could be had in three tries the least bad is kept, and counted too.",
    "Requests are closed loop: the next one waits for the last. The 99th percentile is of that, and is no promise under "
    "arrivals at a fixed rate.",
    "A whisker in a figure of ratios: the row's best and worst round over the median of what it is set against.",
    "1 GB is 1 000 000 000 bytes. A small request is an exchange on a connection that stays; a new connection is connect, "
    "one exchange, close.",
)


def chapter(title, words, *inside, kind=None):
    return element("section", element("h2", title), p(words, class_="words") if words else None, inside, class_=kind)


def shades(dark, light):
    """What the two shades of a bar are."""
    return ul(li(span(class_="shade part"), dark), li(span(class_="shade whole"), light), class_="legend")


def opening(run, limits):
    title = "Times the cost of no mesh"
    figure = cost_figure(run, run.one_core, limits.ticks, "Costs against no mesh, all on one core")
    if figure:
        return chapter(title, "1× is no mesh. A short stick is a cheap mesh; each doubling is equally far. The whisker reaches "
                              "from the best round to the worst. Everything on one core.", figure, kind="first")
    if split(run):
        return None
    return chapter(title, "This run has no row without a mesh, or nothing to set against it, so there is no cost to draw.")


def against(run, limits):
    figure = versus_figure(run, run.one_core, limits.ticks, "eBPF against each other mesh")
    return figure and chapter(
        "What eBPF saves", "The same run the other way round: eBPF divided by what it would replace. Left of the line eBPF "
                           "costs less, in the tinted part it costs more.", figure)


def absolutes(run):
    figure = cards(run)
    return figure and chapter(
        "In its own unit", "From zero, median of the rounds; the whisker reaches from the best round to the worst. The best "
                           "mesh is bold.",
        shades("the proxies", "everybody: apps and kernel too") if run.proxies.rows() else None, figure)


def memory(run):
    figure = memory_figure(run)
    return figure and chapter(
        "Memory of one daemon", "Resident memory; a node has one daemon. Connections are open and idle.",
        shades("idle", "what 1000 connections add"), figure)


def split(run):
    figure = cost_figure(run, run.split, {}, "Costs against no mesh, proxies on a core of their own")
    return figure and chapter(
        "With a core for the proxies", "Client and server share one core, both proxies another: closer to a busy node, but "
                                       "every hop now wakes a core that sleeps. 1× is no mesh measured the same way. Its "
                                       "microseconds do not compare with those above.", figure)


def tables(run):
    found = [numbers_of(run, run.one_core, "Everything on one core"),
             numbers_of(run, run.split, "Client and server on one core, proxies on another"),
             numbers_of(run, run.proxies, "CPU of the proxies alone, everything on one core", with_ratios=False)]
    return any(found) and chapter(
        "Every number", "Median, best and worst round, and how many times worse than no mesh, as the median of the rounds' own "
                        "ratios (so it need not be the quotient of the two medians).", found) or None


def method(run):
    about, said = run.machine, list(METHOD)
    if about.get("rounds"):
        said.append(f"Rounds: {about['rounds']}" + (f", each of {about['seconds']} s." if about.get("seconds") else "."))
    said += [f"{words}: {about[key]}." for key, words in (("pinning", "Pinning"), ("mitigations", "Mitigations in the kernel"))
             if about.get(key)]
    said += about["notes"] if isinstance(about.get("notes"), list) else []
    empty = [li(b("— "), why, ": ", element("code", where)) for why, where in empties(run)]
    return chapter("How it was measured", None, ul(li(each) for each in said), ran(run),
                   [element("h3", "What is empty, and why"), ul(empty)] if empty else None, kind="small")
