# SPDX-License-Identifier: Apache-2.0
# The two figures with lanes: what each mesh costs against none, and what eBPF saves against each other mesh.
from .report_data import BASE, HERO, amount, figures, row_name, times
from .report_html import b, div, element, small, span
from .report_marks import axis, legend, series, tip
from .report_plot import LogScale, across, along, bar, drawing, mark, whisker

GROUP_WORDS = {"Rate": "Rate, as time for the same work"}
LOWEST = 42  # pixels of a lane, which its name needs


class Lanes:
    """A figure: a lane for each column, in it a stick for each pair of rows that both have it.

    pairs: {the row whose colour the stick has: (row, what it is set against)}.
    """

    always = ()  # costs that the scale holds whatever was measured

    def __init__(self, run, section, pairs, ticks):
        self.section, self.pairs, self.ticks, self.costs = section, pairs, ticks, {}
        for column in run.columns:
            costs = {row: section.cost(one, base, column) for row, (one, base) in pairs.items()}
            if any(costs.values()):
                self.costs[column] = {row: cost for row, cost in costs.items() if cost}

    def draw(self, label, kind, ways, heads=(None, None)):
        """None where there is nothing to draw. ways: what left and right mean; heads: over the columns of numbers."""
        if not self.costs:
            return None
        shown = [end for costs in self.costs.values() for cost in costs.values() for end in (cost.low, cost.high)]
        limits = [limit for column, costs in self.costs.items() for row in costs if (limit := self.limit(row, column))]
        self.scale = LogScale(shown + limits + list(self.always))
        lanes, group = [], None
        for column, costs in self.costs.items():
            if column.group != group:
                group = column.group
                lanes.append(element("h3", GROUP_WORDS.get(group, group)))
            lanes.append(self.lane(column, costs))
        words = div([span(way) for way in ways], class_="ways")
        top = div(legend(self.section, self.pairs, limits),
                  div(heads[0], div(words, axis(self.scale), class_="scale"), heads[1], class_="axis"), class_="top")
        bottom = div(div(axis(self.scale), class_="scale"), class_="axis")
        return div(top, lanes, bottom, class_=f"lanes {kind}", role="group", aria_label=label)

    def limit(self, row, column):
        """Only eBPF has limits."""
        one, base = self.pairs[row]
        return self.ticks.get((base, column.name)) if one == HERO else None

    def lane(self, column, costs):
        heights = {row: self.height(row) for row in costs}
        whole = max(sum(heights.values()) + 8, LOWEST)
        y, sticks, values = (whole - sum(heights.values())) / 2, [], []
        for row, cost in costs.items():
            sticks.append(self.stick(row, cost, self.limit(row, column), y + heights[row] / 2))
            values.append(self.value(column, row, cost))
            y += heights[row]
        grid = [across(self.scale.at(step), 0, whole, "one" if step == 1 else "grid") for step in self.scale.steps]
        shown = [row for row in self.section.rows() if any(row in self.pairs[each] for each in costs)]
        return div(div(b(column.title), small(column.what), class_="name"), self.base(column),
                   drawing(whole, self.words(column, costs), self.under(whole), grid, sticks),
                   div(values, class_="values"), tip(self.section, shown, column), class_="lane", tabindex=0)

    def stick(self, row, cost, limit, y):
        """From 1 to the cost; its rounds, its limit, its mark."""
        (kind, shape), at = series(self.section, row), self.scale.at
        tick = limit and element("g", element("title", f"our own limit: {times(limit)}"),
                                 across(at(limit), y - 9, y + 9, "limit"))
        return element("g", along(at(1), at(cost.median), y, "stick"), whisker(at(cost.low), at(cost.high), y), tick,
                       mark(at(cost.median), y, shape), class_=f"{kind} own" if shape == 0 else kind)

    def value(self, column, row, cost):
        kind, shape = series(self.section, row)
        limit = self.limit(row, column)
        over = element("em", "over", title=f"over our own limit of {times(limit)}") if limit and cost.median > limit else None
        return div(over, self.texts(column, row, cost), class_=f"{kind} {'own' if shape == 0 else 'other'}")

    def measured(self, column, row):
        return self.section.cell(row, column).median


class CostLanes(Lanes):
    """Each mesh against no mesh."""

    def __init__(self, run, section, ticks):
        super().__init__(run, section, {row: (row, BASE) for row in section.meshes()}, ticks)

    def height(self, row):
        return 20 if row == HERO else 15

    def base(self, column):
        return div(small("no mesh"), span(amount(column, self.measured(column, BASE))), class_="from")

    def texts(self, column, row, cost):
        return [b(times(cost.median)), span(figures(self.measured(column, row)))]

    def words(self, column, costs):
        said = [f"{column.title}, {column.in_full}: no mesh {amount(column, self.measured(column, BASE))}"]
        said += [f"{row_name(row)} {times(cost.median)}, {amount(column, self.measured(column, row))}"
                 for row, cost in costs.items()]
        if limit := self.ticks.get((BASE, column.name)):
            said.append(f"our own limit for eBPF {times(limit)}")
        return "; ".join(said)

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
        return b(difference(cost.median))

    def words(self, column, costs):
        said = [f"{difference(cost.median)} against {row_name(row)}" for row, cost in costs.items()]
        return f"{column.title}, {column.in_full}: eBPF {'; '.join(said)}"

    def under(self, height):
        """The part of the field where eBPF costs more."""
        return bar(self.scale.at(1), 100, height / 2, height, "worse")


def difference(cost):
    if cost >= 2.5:
        return times(cost)
    return "same" if abs(cost - 1) < 0.005 else f"{'−' if cost < 1 else '+'}{abs(cost - 1) * 100:.0f} %"


def cost_figure(run, section, ticks, label):
    heads = div("no mesh", class_="from"), div(div(span("times"), span("measured")), class_="values")
    return CostLanes(run, section, ticks).draw(label, "cost", ("← better", "costs more →"), heads)


def versus_figure(run, section, ticks, label):
    return VersusLanes(run, section, ticks).draw(label, "versus", ("← eBPF costs less", "more →"))
