# SPDX-License-Identifier: Apache-2.0
# Small multiples: a card for each column, in its own unit, from zero; and memory, which grows with connections.
from .report_data import BASE, COLUMNS, amount, figures, row_name, why_empty
from .report_figures import dot, series
from .report_html import element
from .report_plot import ZeroScale, across, bar, drawing, whisker

MEMORY = {column.name: column for column in COLUMNS if column.name in ("idle_rss_mb", "rss_per_1000_conns_mb")}


def cards(run):
    """One for each column that anybody has a number for."""
    return element("div", [card(run, column) for column in run.columns if column.name not in MEMORY and measured(run, column)], class_="cards")


def measured(run, column):
    return any(run.one_core.cell(row, column) for row in run.one_core.rows())


def split_up(run, column):
    """Whether anybody's bar shows the proxies apart."""
    return any(run.proxies.cell(row, column) for row in run.proxies.rows())


def card(run, column):
    section = run.one_core
    cells = {row: section.cell(row, column) for row in section.rows()}
    found = {row: cell for row, cell in cells.items() if cell}
    scale = ZeroScale([cell.high for cell in found.values()])
    meshes = [row for row in found if row != BASE]
    best = (max if column.more_is_better else min)(meshes, key=lambda row: found[row].median) if len(meshes) > 1 else None
    lanes = [card_lane(run, column, row, cell, scale, row == best) for row, cell in cells.items()]
    way = element("span", "more is better →" if column.more_is_better else "← less is better", class_="way")
    return element("section", element("h4", column.title, element("small", column.in_full)),
                   element("p", column.unit, way, class_="unit"), lanes, class_="card")


def card_lane(run, column, row, cell, scale, best):
    kind, _ = series(run.one_core, row)
    name = element("span", row_name(row), class_="who")
    if not cell:
        return element("div", name, element("span", "—", title=why_empty(row, column), class_="none"), class_="bar")
    words = f"{row_name(row)} {amount(column, cell.median)}, rounds from {figures(cell.low)} to {figures(cell.high)}"
    alone = run.proxies.cell(row, column)
    parts = [bar(0, scale.at(cell.median), 9, 11, "whole" if split_up(run, column) else "part")]
    if alone and alone.median <= cell.median:
        words += f", of which the proxies {figures(alone.median)}"
        parts.append(bar(0, scale.at(alone.median), 9, 11, "part"))
    parts.append(whisker(scale.at(cell.low), scale.at(cell.high), 9))
    return element("div", name, drawing(18, words, element("g", element("title", words), parts, class_=kind)),
                   element("b" if best else "span", figures(cell.median), class_="value"), class_="bar")


def memory_figure(run):
    """Idle and what 1000 connections add, in one bar for each row."""
    idle, growth = MEMORY["idle_rss_mb"], MEMORY["rss_per_1000_conns_mb"]
    section = run.one_core
    found = {row: (section.cell(row, idle), section.cell(row, growth)) for row in section.meshes()}
    found = {row: pair for row, pair in found.items() if pair[0]}
    if not found:
        return None
    scale = ZeroScale([base.median + (more.median if more else 0) for base, more in found.values()])
    lanes = []
    for row, (base, more) in found.items():
        kind, shape = series(section, row)
        total = base.median + (more.median if more else 0)
        words = f"{row_name(row)}: {amount(idle, base.median)} idle" + (f", {figures(more.median)} more with 1000 connections" if more else "")
        parts = [bar(0, scale.at(base.median), 13, 16, "part")]
        if more:
            parts.append(bar(scale.at(base.median), scale.at(total), 13, 16, "whole"))
        value = [element("b", figures(total) if more else figures(base.median), " MB"),
                 element("small", f"{figures(base.median)} + {figures(more.median)}" if more else "idle")]
        lanes.append(element("div", element("span", dot(kind, shape), row_name(row), class_="who"),
                             drawing(26, words, element("g", element("title", words), parts, class_=kind)),
                             element("span", value, class_="value"), class_="bar wide"))
    return element("div", lanes, class_="memory")
