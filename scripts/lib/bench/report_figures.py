# SPDX-License-Identifier: Apache-2.0
# The two figures with lanes: what each mesh costs against none, and what eBPF saves against each other mesh.
from .report_data import BASE, HERO, amount, figures, row_name, times
from .report_html import element
from .report_plot import LogScale, across, along, bar, decoration, drawing, mark, whisker

GROUP_WORDS = {"Rate": "Rate, as time for the same work"}
ON_A_PHONE = (0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 20, 50, 100)  # numbers of an axis for which there is room everywhere
LOWEST = 42  # pixels of a lane, which its name needs


def series(section, row):
    """The class that gives a row its colour, and its shape: by place, since a peer may have any name."""
    if row == BASE:
        return "s-base", 0
    peers = [each for each in section.rows() if each not in (BASE, HERO, "iptables")]
    place = {HERO: 0, "iptables": 1}.get(row)
    place = 2 + peers.index(row) if place is None else place
    return f"s{min(place, 5)}", place


def dot(kind, shape):
    """The mark of a row, for a line of text."""
    return element("svg", mark(50, 7, shape), class_=f"dot {kind}", width=14, height=14, aria_hidden="true")


def legend(section, rows, tick):
    marks = [element("li", dot(*series(section, row)), row_name(row)) for row in rows]
    limit = element("li", element("span", class_="tick", aria_hidden="true"), "our own limit for eBPF") if tick else None
    return element("ul", marks, limit, class_="legend")


def numbers(scale):
    """An axis."""
    return decoration(18, [element("text", f"{step:g}×", x=f"{scale.at(step):.2f}%", y=13,
                                   class_=("one" if step == 1 else "step") + ("" if step in ON_A_PHONE else " spare")) for step in scale.steps])


def tip(section, rows, column):
    """Exact values, seen when a pointer rests on a lane or the keyboard comes to it."""
    lines = []
    for row in rows:
        if cell := section.cell(row, column):
            spread = f"{figures(cell.low)} … {figures(cell.high)}" if cell.high > cell.low else ""
            lines.append(element("tr", element("th", dot(*series(section, row)), row_name(row)), element("td", element("b", amount(column, cell.median))),
                                 element("td", spread), element("td", f"{cell.rounds:g} rounds" if cell.rounds else "")))
    return element("div", element("table", element("tbody", lines)), class_="tip", aria_hidden="true")


class Lanes:
    """A figure: for each column, a lane for each pair of rows. pairs: {the row whose colour it has: (row, what it is set against)}."""

    always = ()  # costs that the scale holds whatever was measured

    def __init__(self, run, section, pairs, ticks):
        self.section, self.pairs, self.ticks = section, pairs, ticks
        found = {column: {row: cost for row, (one, base) in pairs.items() if (cost := section.cost(one, base, column))} for column in run.columns}
        self.costs = {column: costs for column, costs in found.items() if costs}

    def draw(self, label, kind, ways, heads):
        """None where there is nothing to draw."""
        if not self.costs:
            return None
        shown = [end for costs in self.costs.values() for cost in costs.values() for end in (cost.low, cost.high)]
        limits = [limit for column, costs in self.costs.items() for row in costs if (limit := self.limit(row, column))]
        self.scale = LogScale(shown + limits + list(self.always))
        parts, group = [], None
        for column, costs in self.costs.items():
            if column.group != group:
                group = column.group
                parts.append(element("h3", GROUP_WORDS.get(group, group)))
            parts.append(self.lane(column, costs))
        top = element("div", legend(self.section, self.pairs, limits),
                      element("div", heads[0], element("div", element("div", [element("span", way) for way in ways], class_="ways"), numbers(self.scale),
                                                       class_="scale"), heads[1], class_="axis"), class_="top")
        return element("div", top, parts, element("div", element("div", numbers(self.scale), class_="scale"), class_="axis"), class_=f"lanes {kind}",
                       role="group", aria_label=label)

    def limit(self, row, column):
        """Only eBPF has limits."""
        one, base = self.pairs[row]
        return self.ticks.get((base, column.name)) if one == HERO else None

    def lane(self, column, costs):
        heights = {row: self.height(row) for row in costs}
        whole = max(sum(heights.values()) + 8, LOWEST)
        y, parts, values = (whole - sum(heights.values())) / 2, [], []
        for row, cost in costs.items():
            kind, shape = series(self.section, row)
            limit = self.limit(row, column)
            parts.append(self.stick(cost, limit, y + heights[row] / 2, kind, shape))
            over = element("em", "over", title=f"over our own limit of {times(limit)}") if limit and cost.median > limit else None
            values.append(element("div", self.texts(column, row, cost), over, class_=f"{kind} {'own' if shape == 0 else 'other'}"))
            y += heights[row]
        grid = [across(self.scale.at(step), 0, whole, "one" if step == 1 else "grid") for step in self.scale.steps]
        return element("div", element("div", element("b", column.title), element("small", column.what), class_="name"), self.base(column),
                       drawing(whole, self.words(column, costs), self.under(whole), grid, parts), element("div", values, class_="values"),
                       tip(self.section, [row for row in self.section.rows() if any(row in self.pairs[each] for each in costs)], column),
                       class_="lane", tabindex=0)

    def stick(self, cost, limit, y, kind, shape):
        at = self.scale.at
        tick = element("g", element("title", f"our own limit: {times(limit)}"), across(at(limit), y - 9, y + 9, "limit")) if limit else None
        return element("g", along(at(1), at(cost.median), y, "stick"), whisker(at(cost.low), at(cost.high), y), tick, mark(at(cost.median), y, shape),
                       class_=f"{kind} own" if shape == 0 else kind)


class CostLanes(Lanes):
    """Each mesh against no mesh: the stick begins at 1 and ends at the cost."""

    def __init__(self, run, section, ticks):
        super().__init__(run, section, {row: (row, BASE) for row in section.meshes()}, ticks)

    def height(self, row):
        return 20 if row == HERO else 15

    def base(self, column):
        return element("div", element("small", "no mesh"), element("span", amount(column, self.section.cell(BASE, column).median)), class_="from")

    def texts(self, column, row, cost):
        return [element("b", times(cost.median)), element("span", figures(self.section.cell(row, column).median))]

    def words(self, column, costs):
        said = [f"{row_name(row)} {times(cost.median)}, {amount(column, self.section.cell(row, column).median)}" for row, cost in costs.items()]
        limit = self.ticks.get((BASE, column.name))
        return (f"{column.title}, {column.in_full}: no mesh {amount(column, self.section.cell(BASE, column).median)}; {'; '.join(said)}"
                + (f"; our own limit for eBPF {times(limit)}" if limit else ""))

    def under(self, height):
        return None


class VersusLanes(Lanes):
    """eBPF against each other mesh: left of the line it costs less. Has also what no mesh has none of."""

    always = (0.5, 1.5)

    def __init__(self, run, section, ticks):
        others = [row for row in section.meshes() if row != HERO and HERO in section.rows()]
        super().__init__(run, section, {row: (HERO, row) for row in others}, ticks)

    def height(self, row):
        return 18

    def base(self, column):
        return None

    def texts(self, column, row, cost):
        return element("b", difference(cost.median))

    def words(self, column, costs):
        return f"{column.title}, {column.in_full}: eBPF " + "; ".join(f"{difference(cost.median)} against {row_name(row)}" for row, cost in costs.items())

    def under(self, height):
        """The part of the field where eBPF costs more."""
        return bar(self.scale.at(1), 100, height / 2, height, "worse")


def difference(cost):
    if cost >= 2.5:
        return times(cost)
    return "same" if abs(cost - 1) < 0.005 else f"{'−' if cost < 1 else '+'}{abs(cost - 1) * 100:.0f} %"


def cost_figure(run, section, ticks, label):
    heads = (element("div", "no mesh", class_="from"), element("div", element("div", element("span", "times"), element("span", "measured")), class_="values"))
    return CostLanes(run, section, ticks).draw(label, "cost", ("← better", "costs more →"), heads)


def versus_figure(run, section, ticks, label):
    return VersusLanes(run, section, ticks).draw(label, "versus", ("← eBPF costs less", "more →"), (None, None))
