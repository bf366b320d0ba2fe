# SPDX-License-Identifier: Apache-2.0
# Small multiples: a card for each column, in its own unit, from zero; and memory, which grows with connections.
from .report_data import BASE, COLUMNS, amount, figures, row_name, why_empty
from .report_html import b, div, element, p, small, span
from .report_marks import dot, series
from .report_plot import ZeroScale, bar, drawing, whisker

MEMORY = {column.name: column for column in COLUMNS if column.name in ("idle_rss_mb", "rss_per_1000_conns_mb")}


def cards(run):
    """One for each column that anybody has a number for."""
    made = [card(run, column) for column in run.columns if column.name not in MEMORY]
    return div(made, class_="cards") if any(made) else None


def card(run, column):
    cells = {row: run.one_core.cell(row, column) for row in run.one_core.rows()}
    found = {row: cell for row, cell in cells.items() if cell}
    if not found:
        return None
    scale = ZeroScale([cell.high for cell in found.values()])
    meshes = sorted((row for row in found if row != BASE), key=lambda row: found[row].median, reverse=column.more_is_better)
    best = meshes[0] if len(meshes) > 1 else None
    way = span("more is better →" if column.more_is_better else "← less is better", class_="way")
    return element("section", element("h4", column.title, small(column.in_full)), p(column.unit, way, class_="unit"),
                   [lane(run, column, row, cell, scale, row == best) for row, cell in cells.items()], class_="card")


def lane(run, column, row, cell, scale, best):
    name = span(row_name(row), class_="who")
    if not cell:
        return div(name, span("—", title=why_empty(row, column), class_="none"), class_="bar")
    words = f"{row_name(row)} {amount(column, cell.median)}, rounds from {figures(cell.low)} to {figures(cell.high)}"
    # Where the proxies are known alone they are the dark part; where nobody's are, all is dark.
    shaded = any(run.proxies.cell(each, column) for each in run.proxies.rows())
    parts = [bar(0, scale.at(cell.median), 9, 11, "whole" if shaded else "part")]
    alone = run.proxies.cell(row, column)
    if alone and alone.median <= cell.median:
        words += f", of which the proxies {figures(alone.median)}"
        parts.append(bar(0, scale.at(alone.median), 9, 11, "part"))
    parts.append(whisker(scale.at(cell.low), scale.at(cell.high), 9))
    kind, _ = series(run.one_core, row)
    return div(name, drawing(18, words, element("g", element("title", words), parts, class_=kind)),
               (b if best else span)(figures(cell.median), class_="value"), class_="bar")


def memory_figure(run):
    """Idle and what 1000 connections add, in one bar for each row."""
    section = run.one_core
    found = {row: [section.cell(row, column) for column in MEMORY.values()] for row in section.meshes()}
    found = {row: (idle.median, more.median if more else None) for row, (idle, more) in found.items() if idle}
    if not found:
        return None
    scale = ZeroScale([idle + (more or 0) for idle, more in found.values()])
    return div([memory_lane(section, row, idle, more, scale) for row, (idle, more) in found.items()], class_="memory")


def memory_lane(section, row, idle, more, scale):
    kind, shape = series(section, row)
    words = f"{row_name(row)}: {figures(idle)} MB idle"
    parts = [bar(0, scale.at(idle), 13, 16, "part")]
    value = [b(figures(idle), " MB"), small("idle")]
    if more is not None:
        words += f", {figures(more)} MB more with 1000 connections"
        parts.append(bar(scale.at(idle), scale.at(idle + more), 13, 16, "whole"))
        value = [b(figures(idle + more), " MB"), small(f"{figures(idle)} + {figures(more)}")]
    return div(span(dot(kind, shape), row_name(row), class_="who"),
               drawing(26, words, element("g", element("title", words), parts, class_=kind)), span(value, class_="value"),
               class_="bar wide")
