#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# report.py IN.json OUT.html: the result of scripts/bench as one page to look at. Nothing in it comes from elsewhere: no script,
# no font, no picture but what is drawn here; it can be mailed, and opened in ten years.
import json
import os
import sys

if not __package__:  # run as a program
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    __package__ = __import__("bench").__name__

from .report_cards import cards, memory_figure
from .report_data import Run, row_name
from .report_figures import cost_figure, versus_figure
from .report_html import element, raw
from .report_limits import Limits
from .report_tables import empties, ran, table
from .report_words import lead, questions, tiles

STYLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "report.css")

MACHINE = (("cpu", "{}"), ("cores", "cores: {}"), ("memory_gb", "{} GB"), ("kernel", "Linux {}"), ("load", "load {}"), ("date", "{}"),
           ("commit", "commit {}"))


def machine_line(run):
    """On what, when, of which build, and how to do it again."""
    facts = [element("li", words.format(value)) for key, words in MACHINE if (value := run.machine.get(key)) not in (None, "", [], {})]
    command = run.machine.get("command")
    return element("div", warning(run), element("ul", facts, class_="facts") if facts else None,
                   element("pre", element("code", command), class_="command", tabindex=0, aria_label="the command of this run") if command else None,
                   class_="machine")


def warning(run):
    """What makes this run a worse witness than others."""
    said = []
    if run.machine.get("quick"):
        said.append("A quick run: good for finding what broke, too short for figures to quote.")
    if run.machine.get("noisy"):
        said.append("A noisy machine: some rounds were kept although somebody else used more than a tenth of our time.")
    return element("p", " ".join(said), class_="warning") if said else None


def chapter(title, words, *inside, kind=None):
    return element("section", element("h2", title), element("p", words, class_="words") if words else None, inside, class_=kind)


def opening(run, limits):
    section = run.one_core
    figure = cost_figure(run, section, limits.ticks, "Costs against no mesh, all on one core")
    if not figure:
        return None if cost_figure(run, run.split, {}, "") else chapter("Times the cost of no mesh", "This run has no row without a mesh, or nothing to set against it, so there is no cost to draw.")
    return chapter("Times the cost of no mesh", "1× is no mesh. A short stick is a cheap mesh; each doubling is equally far. The whisker reaches from the best round to the "
                   "worst. Everything on one core.", figure, kind="first")


def against(run, limits):
    figure = versus_figure(run, run.one_core, limits.ticks, "eBPF against each other mesh")
    if not figure:
        return None
    return chapter("What eBPF saves", "The same run the other way round: eBPF divided by what it would replace. Left of the line eBPF costs less, in the "
                   "tinted part it costs more.", figure)


def absolutes(run):
    shades = element("ul", element("li", element("span", class_="shade part"), "the proxies"), element("li", element("span", class_="shade whole"),
                     "everybody: apps and kernel too"), class_="legend")
    return chapter("In its own unit", "From zero, median of the rounds; the whisker reaches from the best round to the worst. The best mesh is bold.",
                   shades if any(run.proxies.rows()) else None, cards(run))


def memory(run):
    figure = memory_figure(run)
    if not figure:
        return None
    shades = element("ul", element("li", element("span", class_="shade part"), "idle"), element("li", element("span", class_="shade whole"),
                     "what 1000 connections add"), class_="legend")
    return chapter("Memory of one daemon", "Resident memory; a node has one daemon. Connections are open and idle.", shades, figure)


def split(run):
    section = run.split
    figure = cost_figure(run, section, {}, "Costs against no mesh, proxies on a core of their own")
    if not figure:
        return None
    return chapter("With a core for the proxies", "Client and server share one core, both proxies another: closer to a busy node, but every hop now wakes a core that "
                   "sleeps. 1× is no mesh measured the same way. Its microseconds do not compare with those above.", figure)


def tables(run):
    return chapter("Every number", "Median, best and worst round, and how many times worse than no mesh, as the median of the rounds' own ratios (so it need not be the "
                   "quotient of the two medians).", table(run, run.one_core, "Everything on one core"),
                   table(run, run.split, "Client and server on one core, proxies on another"),
                   table(run, run.proxies, "CPU of the proxies alone, everything on one core", with_ratios=False))


def method(run):
    about = run.machine
    rounds, seconds = about.get("rounds"), about.get("seconds")
    points = [
        "CPU is the time on a core of every thread of every process that takes part, as the scheduler counts it (schedstat), over exactly the timed window.",
        "Rows take turns within each round, there and back, so a machine that warms up or slows down does so for all of them."
        + (f" {rounds} rounds" if rounds else "") + (f" of {seconds} s." if rounds and seconds else "." if rounds else ""),
        "A round in which somebody else took more than a tenth of our time is thrown away, counted below, and played again; where no quiet one could be had "
        "in three tries the least bad is kept, and counted too.",
        "Requests are closed loop: the next one waits for the last. The 99th percentile is of that, and is no promise under arrivals at a fixed rate.",
        "A whisker in a figure of ratios: the row's best and worst round over the median of what it is set against.",
        "1 GB is 1 000 000 000 bytes. A small request is an exchange on a connection that stays; a new connection is connect, one exchange, close.",
    ]
    points += [f"{words}: {about[key]}." for key, words in (("pinning", "Pinning"), ("mitigations", "Mitigations in the kernel")) if about.get(key)]
    points += about["notes"] if isinstance(about.get("notes"), list) else []
    empty = [element("li", element("b", "— "), why, ": ", element("code", where)) for why, where in empties(run)]
    return chapter("How it was measured", None, element("ul", [element("li", point) for point in points]), ran(run),
                   [element("h3", "What is empty, and why"), element("ul", empty)] if empty else None, kind="small")


def style():
    with open(STYLE, encoding="utf-8") as file:
        return file.read()


def page(results):
    run, limits = Run(results), Limits(results)
    rows = ", ".join(row_name(row) for row in run.one_core.rows()) or "no rows"
    head = element("head", element("meta", charset="utf-8"), element("title", "What the mesh costs"),
                   element("meta", name="viewport", content="width=device-width, initial-scale=1"),
                   element("meta", name="color-scheme", content="light dark"), element("style", raw(style())))
    body = element("body", element("main",
                   element("header", element("h1", "What the mesh costs"), lead(run), machine_line(run)),
                   tiles(run), opening(run, limits), questions(run, limits), against(run, limits), absolutes(run), memory(run),
                   split(run), tables(run), method(run), element("footer", f"Culvert, {rows}. Written by scripts/bench.")))
    return "<!DOCTYPE html>\n" + element("html", head, body, lang="en") + "\n"


def write(results, path):
    """The page of one result, whatever of it there is."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(page(results))


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: report.py IN.json OUT.html")
    with open(sys.argv[1], encoding="utf-8") as file:
        write(json.load(file), sys.argv[2])


if __name__ == "__main__":
    main()
