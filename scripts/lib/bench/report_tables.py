# SPDX-License-Identifier: Apache-2.0
# Every number as a table, for those who read rather than look, and for a screen reader.
from .report_data import BASE, HERO, figures, row_name, times, why_empty
from .report_html import element


def table(run, section, caption, with_ratios=True):
    """Columns of the file down, rows of the file across: median, worst and best round, cost against no mesh."""
    rows = section.rows()
    columns = [column for column in run.columns if any(section.cell(row, column) for row in rows)]
    if not columns:
        return None
    head = element("tr", element("th", "", scope="col"), element("th", "unit", scope="col", class_="unit"),
                   [element("th", row_name(row), scope="col") for row in rows])
    body = []
    for column in columns:
        cells = [entry(section, row, column, with_ratios) for row in rows]
        body.append(element("tr", element("th", column.title, " ", element("small", column.in_full), " ", element("code", column.name), scope="row"),
                            element("td", element("span", column.unit), element("small", "more is better" if column.more_is_better else ""),
                                    class_="unit"), cells))
    return element("div", element("table", element("caption", caption), element("thead", head), element("tbody", body), class_="numbers"),
                   class_="scroll", tabindex=0, role="region", aria_label=caption)


def entry(section, row, column, with_ratios):
    cell = section.cell(row, column)
    if not cell:
        return element("td", "—", class_="none", title=why_empty(row, column))
    cost = section.cost(row, BASE, column) if with_ratios and row != BASE else None
    spread = f"{figures(cell.low)} … {figures(cell.high)}" if cell.high > cell.low else ""
    return element("td", element("b", figures(cell.median)), " ", element("small", spread), " ",
                   element("i", times(cost.median)) if cost else None,
                   class_="own" if row == HERO else None)


def ran(run):
    """What each row was made of, and how many of its rounds were thrown away."""
    rows = run.one_core.rows()
    facts = (("compiler", "compiler"), ("openssl", "OpenSSL"), ("dropped", "rounds thrown away"), ("kept_noisy", "noisy ones kept"))
    columns = [(key, words) for key, words in facts if any(run.about(key, row) not in (None, "") for row in rows)]
    if not rows or not columns:
        return None
    head = element("tr", element("th", "row", scope="col"), [element("th", words, scope="col") for _, words in columns])
    body = [element("tr", element("th", row_name(row), scope="row"),
                    [element("td", "—" if (value := run.about(key, row)) in (None, "") else value) for key, _ in columns]) for row in rows]
    return element("div", element("table", element("caption", "What ran in each row"), element("thead", head), element("tbody", body),
                                  class_="ran"), class_="scroll", tabindex=0, role="region", aria_label="What ran in each row")


def empties(run):
    """(row and column, why) of each cell without a number, those with the same reason together."""
    reasons = {}
    for column in run.columns:
        for row in run.one_core.rows():
            if not run.one_core.cell(row, column):
                reasons.setdefault(why_empty(row, column), {}).setdefault(row_name(row), []).append(column.name)
    return [(why, "; ".join(f"{row}: {', '.join(names)}" for row, names in rows.items())) for why, rows in reasons.items()]
