# SPDX-License-Identifier: Apache-2.0
# What every figure shares: which colour and shape a row has, legends, axes, and the exact values behind a lane.
from .report_data import BASE, HERO, amount, figures, row_name
from .report_html import b, div, element, li, span, table, tbody, td, th, tr, ul
from .report_plot import decoration, mark

ON_A_PHONE = (0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 20, 50, 100)  # numbers of an axis for which there is room everywhere


def series(section, row):
    """The class that gives a row its colour, and its shape: by place, since a peer may have any name."""
    if row == BASE:
        return "s-base", 0
    peers = [each for each in section.rows() if each not in (BASE, HERO, "iptables")]
    place = 2 + peers.index(row) if row in peers else (HERO, "iptables").index(row)
    return f"s{min(place, 5)}", place


def dot(kind, shape):
    """The mark of a row, for a line of text."""
    return element("svg", mark(50, 7, shape), class_=f"dot {kind}", width=14, height=14, aria_hidden="true")


def legend(section, rows, with_limit):
    limit = li(span(class_="tick", aria_hidden="true"), "our own limit for eBPF") if with_limit else None
    return ul([li(dot(*series(section, row)), row_name(row)) for row in rows], limit, class_="legend")


def axis(scale):
    texts = []
    for step in scale.steps:
        kind = ("one" if step == 1 else "step") + ("" if step in ON_A_PHONE else " spare")
        texts.append(element("text", f"{step:g}×", x=f"{scale.at(step):.2f}%", y=13, class_=kind))
    return decoration(18, texts)


def tip(section, rows, column):
    """Exact values, seen when a pointer rests on a lane or the keyboard comes to it."""
    lines = []
    for row in rows:
        if cell := section.cell(row, column):
            spread = f"{figures(cell.low)} … {figures(cell.high)}" if cell.high > cell.low else ""
            lines.append(tr(th(dot(*series(section, row)), row_name(row)), td(b(amount(column, cell.median))), td(spread),
                            td(f"{cell.rounds:g} rounds" if cell.rounds else "")))
    return div(table(tbody(lines)), class_="tip", aria_hidden="true")
