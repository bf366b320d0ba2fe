# SPDX-License-Identifier: Apache-2.0
# Every number as a table, for those who read rather than look, and for a screen reader.
from .report_data import BASE, HERO, figures, row_name, times, why_empty
from .report_html import b, div, element, small, table, tbody, td, th, thead, tr


def scrollable(kind, caption, head, body):
    return div(table(element("caption", caption), thead(head), tbody(body), class_=kind),
               class_="scroll", tabindex=0, role="region", aria_label=caption)


def numbers_of(run, section, caption, with_ratios=True):
    """Columns of the file down, rows of the file across: median, worst and best round, cost against no mesh."""
    rows = section.rows()
    columns = [column for column in run.columns if any(section.cell(row, column) for row in rows)]
    if not columns:
        return None
    head = tr(th("", scope="col"), [th(row_name(row), scope="col") for row in rows])
    body = []
    for column in columns:
        unit = "a second" if column.unit == "/s" else column.unit
        name = th(column.title, ", ", unit, " ", small(column.in_full, "; more is better" if column.more_is_better else ""), " ",
                  element("code", column.name), scope="row")
        body.append(tr(name, [entry(section, row, column, with_ratios) for row in rows]))
    return scrollable("numbers", caption, head, body)


def entry(section, row, column, with_ratios):
    cell = section.cell(row, column)
    if not cell:
        return td("—", class_="none", title=why_empty(row, column))
    cost = section.cost(row, BASE, column) if with_ratios and row != BASE else None
    spread = f"{figures(cell.low)} … {figures(cell.high)}" if cell.high > cell.low else ""
    return td(b(figures(cell.median)), " ", small(spread), " ", element("i", times(cost.median)) if cost else None,
              class_="own" if row == HERO else None)


def ran(run):
    """What each row was made of, and how many of its rounds were thrown away."""
    rows = run.one_core.rows()
    facts = {"compiler": "compiler", "openssl": "OpenSSL", "dropped": "rounds thrown away", "kept_noisy": "noisy ones kept"}
    known = {key: [run.about(key, row) for row in rows] for key in facts}
    known = {key: values for key, values in known.items() if any(value not in (None, "") for value in values)}
    if not known:
        return None
    head = tr(th("row", scope="col"), [th(facts[key], scope="col") for key in known])
    body = [tr(th(row_name(row), scope="row"), [td("—" if value in (None, "") else value) for value in values])
            for row, *values in zip(rows, *known.values())]
    return scrollable("ran", "What ran in each row", head, body)


def empties(run):
    """(why, row and columns) of the cells without a number, those with the same reason together."""
    reasons = {}
    for column in run.columns:
        for row in run.one_core.rows():
            if not run.one_core.cell(row, column):
                reasons.setdefault(why_empty(row, column), {}).setdefault(row_name(row), []).append(column.name)
    return [(why, "; ".join(f"{row}: {', '.join(names)}" for row, names in rows.items())) for why, rows in reasons.items()]
