# SPDX-License-Identifier: Apache-2.0
# The page of a result: everything that was measured is on it, nothing from elsewhere, whatever is missing.
import copy
import os
import re
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as tree

HERE = os.path.dirname(os.path.abspath(__file__))
LIB = os.path.join(HERE, "..", "..", "..", "scripts", "lib")
sys.path[:0] = [HERE, LIB]

import made_up
from bench import measures, report, report_data, report_limits, report_plot


def read(results):
    """The page, and its tree: the page is well-formed XML, with its drawings."""
    text = report.page(results)
    return text, tree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))


def words(element):
    return " ".join("".join(element.itertext()).split())


def of_class(root, name):
    return [element for element in root.iter() if name in (element.get("class") or "").split()]


class Page(unittest.TestCase):
    def setUp(self):
        self.results = made_up.results()

    def test_every_row_and_every_column_is_in_a_table(self):
        _, root = read(self.results)
        table = of_class(root, "numbers")[0]
        names = [words(code) for code in table.iter("code")]
        self.assertCountEqual(names, made_up.COLUMNS)
        self.assertEqual(
            [words(cell) for cell in table.find("thead").iter("th")],
            ["", "no mesh", "eBPF", "iptables mode", "ztunnel"],
        )

    def test_tables_have_each_median_with_its_best_and_worst_round(self):
        _, root = read(self.results)
        rows = {
            words(row.find(".//code")): [words(cell) for cell in row.findall("td")]
            for row in of_class(root, "numbers")[0].find("tbody")
        }
        self.assertEqual(rows["rr16_cpu_us"][1].split()[0], "16.4")
        for column, row in rows.items():
            for name, said in zip(("direct", "ebpf", "iptables", "ztunnel"), row):
                cell = self.results["rows"][name][column]
                shown = [report_data.figures(cell[key]) for key in ("median", "min", "max")] if cell else ["—"]
                for figure in shown:
                    self.assertIn(figure, said, f"{name} {column}")

    def test_one_core_and_split_each_have_a_figure_and_a_table(self):
        _, root = read(self.results)
        self.assertEqual(len(of_class(root, "cost")), 2)
        self.assertEqual(
            [words(caption) for caption in root.iter("caption")][:2],
            ["Everything on one core", "Client and server on one core, proxies on another"],
        )

    def test_the_opening_figure_says_each_cost_with_the_ratio_of_the_file(self):
        self.results["ratios"]["ebpf/direct"]["rr16_cpu_us"] = 1.2345
        self.results["ratios"]["ebpf/direct"]["http16_rps"] = 0.25  # a quarter of the requests: four times the cost
        _, root = read(self.results)
        said = [
            svg.get("aria-label") for svg in of_class(of_class(root, "cost")[0], "plot") if svg.get("role") == "img"
        ]
        self.assertTrue(any("16 connections" in label and "eBPF 1.23×, 16.4 µs" in label for label in said), said)
        self.assertTrue(any("per second" in label and "eBPF 4.0×, 53,300/s" in label for label in said), said)

    def test_a_mesh_that_costs_more_has_the_longer_stick(self):
        _, root = read(self.results)
        for lane in of_class(of_class(root, "cost")[0], "lane"):
            ends = [
                float(mark.get("x").rstrip("%"))
                for mark in lane.iter("svg")
                if mark.get("overflow") and mark.get("x") != "50.00%"
            ]
            costs = [float(words(value.find("b")).rstrip("×")) for value in of_class(lane, "values")[0]]
            self.assertEqual(
                sorted(range(len(costs)), key=costs.__getitem__), sorted(range(len(ends)), key=ends.__getitem__)
            )

    def test_machine_and_command_stand_at_the_top(self):
        text, root = read(self.results)
        header = words(root.find(".//header"))
        for said in ("Made Up CPU", "cores: 2", "6.18.0-made-up", "0123456789ab", self.results["machine"]["command"]):
            self.assertIn(said, header)
        self.assertIn("spectre_v2: Retpolines", text)
        self.assertIn("3.5.4", text)

    def test_dropped_rounds_are_counted_by_row(self):
        _, root = read(self.results)
        ran = {words(row.find("th")): words(row.findall("td")[2]) for row in of_class(root, "ran")[0].find("tbody")}
        self.assertEqual(ran, {"no mesh": "0", "iptables mode": "2", "eBPF": "1", "ztunnel": "0"})

    def test_what_is_empty_has_a_reason(self):
        _, root = read(self.results)
        small = words(of_class(root, "small")[0])
        self.assertIn("there is no tunnel to open", small)
        self.assertIn("ztunnel: enrol_p50_ms", small)

    def test_a_missed_limit_is_said_and_a_kept_one_is_not(self):
        _, root = read(self.results)
        self.assertFalse(list(root.iter("em")))
        self.results["ratios"]["ebpf/direct"]["rr16_cpu_us"] = 9.0
        _, root = read(self.results)
        self.assertEqual([words(over) for over in root.iter("em")], ["over"])
        self.assertIn("Missed: ebpf/direct rr16_cpu_us 9.00", words(of_class(root, "asked")[0]))

    def test_a_loss_is_said_without_being_asked_for(self):
        self.results["ratios"]["ebpf/iptables"]["crr_cpu_us"] = 1.2
        self.assertIn("Against iptables mode: crr_cpu_us +20 %.", words(of_class(read(self.results)[1], "asked")[0]))

    def test_a_noisy_or_quick_run_says_so_first(self):
        self.assertFalse(of_class(read(self.results)[1], "warning"))
        self.results["machine"].update(noisy=True, quick=True)
        said = words(of_class(read(self.results)[1].find(".//header"), "warning")[0])
        self.assertIn("noisy machine", said)
        self.assertIn("quick run", said)

    def test_what_is_faster_than_no_mesh_is_explained(self):
        self.assertNotIn("Faster than no mesh", words(of_class(read(self.results)[1], "asked")[0]))
        self.results["rows"]["ebpf"]["stream1k_gbit"].update(median=9.0, min=8.5, max=9.5)
        self.results["ratios"]["ebpf/direct"]["stream1k_gbit"] = 9.0 / 5.45
        self.assertIn("0.61× the time", words(of_class(read(self.results)[1], "asked")[0]))


class Alone(unittest.TestCase):
    """The page needs nothing but itself."""

    def test_nothing_is_fetched_and_nothing_runs(self):
        text, root = read(made_up.results())
        self.assertNotRegex(text, r"(?i)https?:|//[a-z]|url\(|@import|<script|javascript:|\son[a-z]+=")
        self.assertFalse(
            [element.tag for element in root.iter() if element.tag in ("script", "link", "img", "iframe", "object")]
        )
        self.assertFalse([element.tag for element in root.iter() if element.get("src") or element.get("href")])

    def test_whatever_people_call_things_is_text(self):
        evil = '<script>alert("1")</script>&\'\x07'
        results = made_up.results()
        results["machine"]["command"] = results["machine"]["cpu"] = evil
        results["machine"]["notes"] = [evil]
        for rows in (results["rows"], results["split"]["rows"], results["proxies"]):
            rows[evil] = rows.pop("ztunnel")
        results["ratios"] = {pair.replace("ztunnel", evil): found for pair, found in results["ratios"].items()}
        results["rows"]["direct"][evil] = {"median": 1, "min": 1, "max": 1, "rounds": 1, "unit": evil}
        text, root = read(results)
        self.assertFalse(list(root.iter("script")))
        self.assertNotIn("<script", text)
        self.assertIn(evil.rstrip("\x07"), words(root))

    def test_pictures_have_words(self):
        _, root = read(made_up.results())
        parents = {child: parent for parent in root.iter() for child in parent}
        for svg in root.iter("svg"):
            if parents[svg].tag not in ("svg", "g"):
                self.assertTrue(
                    svg.get("aria-hidden") or (svg.get("role") == "img" and svg.get("aria-label")),
                    tree.tostring(svg)[:200],
                )

    def test_marks_lie_inside_their_field(self):
        _, root = read(made_up.results())
        for element in root.iter():
            for name in ("x", "x1", "x2", "width"):
                if (value := element.get(name) or "").endswith("%"):
                    self.assertTrue(0 <= float(value[:-1]) <= 100, tree.tostring(element)[:200])


class Less(unittest.TestCase):
    """What is missing is missing, and nothing else is."""

    def test_rows(self):
        whole = made_up.results()
        for gone in (
            ["direct"],
            ["ebpf"],
            ["iptables"],
            ["ztunnel"],
            ["iptables", "ztunnel"],
            ["direct", "iptables"],
            ["direct", "ebpf", "ztunnel"],
            ["iptables", "ebpf", "ztunnel"],
            list(made_up.ROWS),
        ):
            with self.subTest(gone=gone):
                results = copy.deepcopy(whole)
                for rows in (results["rows"], results["split"]["rows"], results["proxies"]):
                    for row in gone:
                        rows.pop(row, None)
                for ratios in (results["ratios"], results["split"]["ratios"]):
                    for pair in [pair for pair in ratios if set(pair.split("/")) & set(gone)]:
                        del ratios[pair]
                _, root = read(results)
                shown = {report_data.row_name(row) for row in made_up.ROWS if row not in gone}
                if shown:
                    heads = [words(cell) for cell in of_class(root, "numbers")[0].find("thead").iter("th")][1:]
                    self.assertEqual(set(heads), shown)

    def test_five_rows(self):
        results = made_up.results()
        results["rows"]["another"] = results["rows"]["ztunnel"]
        _, root = read(results)
        lane = of_class(of_class(root, "cost")[0], "lane")[0]
        self.assertEqual(len(of_class(lane, "values")[0]), 4)
        self.assertEqual(len({mark.get("class") for mark in of_class(lane, "values")[0]}), 4)

    def test_each_column(self):
        for column in made_up.COLUMNS:
            with self.subTest(column=column):
                results = made_up.results()
                for part in (
                    results["rows"],
                    results["split"]["rows"],
                    results["proxies"],
                    results["ratios"],
                    results["split"]["ratios"],
                ):
                    for cells in part.values():
                        cells[column] = None
                _, root = read(results)
                names = [words(code) for code in of_class(root, "numbers")[0].iter("code")]
                self.assertCountEqual(names, set(made_up.COLUMNS) - {column})

    def test_any_single_cell(self):
        for row in ("direct", "ebpf"):
            for column in made_up.COLUMNS:
                results = made_up.results()
                results["rows"][row][column] = None
                read(results)

    def test_one_round_has_no_whiskers_and_claims_nothing_of_noise(self):
        results = made_up.results()
        for rows in (results["rows"], results["split"]["rows"], results["proxies"]):
            for cells in rows.values():
                for cell in cells.values():
                    if cell:
                        cell.update(min=cell["median"], max=cell["median"], rounds=1)
        for pair, found in results["ratios"].items():
            one, other = pair.split("/")
            self.assertTrue(set(found) and one in results["rows"] and other in results["rows"])
        _, root = read(results)
        opening = of_class(root, "cost")[0]
        self.assertFalse(
            [
                line
                for line in of_class(opening, "whisker")
                if line.get("x1") != line.get("x2")
                and line.get("y1") == line.get("y2")
                and abs(float(line.get("x1")[:-1]) - float(line.get("x2")[:-1])) > 0.1
            ]
        )
        self.assertIn("This run cannot tell: some columns have 1 round.", words(of_class(root, "asked")[0]))

    def test_only_split(self):
        results = made_up.results()
        results["rows"] = {row: dict.fromkeys(made_up.COLUMNS) for row in made_up.ROWS}
        text, root = read(results)
        self.assertEqual(len(of_class(root, "cost")), 1)
        self.assertNotIn("no cost to draw", text)

    def test_parts_of_the_file(self):
        for part in ("machine", "rows", "ratios", "split", "proxies"):
            for value in (None, {}, "gone"):
                with self.subTest(part=part, value=value):
                    results = made_up.results()
                    results[part] = value
                    read(results)
                    del results[part]
                    read(results)
        read({})

    def test_numbers_that_are_none(self):
        for value in (None, "12", float("nan"), float("inf"), True, [], -1, 0):
            with self.subTest(value=value):
                results = made_up.results()
                for row in made_up.ROWS:
                    results["rows"][row]["rr16_cpu_us"] = {
                        "median": value,
                        "min": value,
                        "max": value,
                        "rounds": value,
                        "unit": "us",
                    }
                    results["rows"][row]["http16_rps"]["min"] = value
                results["ratios"]["ebpf/direct"]["crr_cpu_us"] = value
                read(results)

    def test_a_column_of_a_newer_bench_is_shown_under_its_own_name(self):
        results = made_up.results()
        for row, value in (("direct", 4.0), ("ebpf", 6.0)):
            results["rows"][row]["udp_cpu_us"] = {
                "median": value,
                "min": value,
                "max": value,
                "rounds": 3,
                "unit": "us",
            }
        text, root = read(results)
        self.assertIn("udp_cpu_us", [words(code) for code in of_class(root, "numbers")[0].iter("code")])
        self.assertIn("1.50×", text)


class Borders(unittest.TestCase):
    """What the page believes of its neighbours."""

    def test_columns_are_those_that_the_bench_measures(self):
        self.assertCountEqual([column.name for column in report_data.COLUMNS], measures.UNITS)
        self.assertEqual(
            {column.name for column in report_data.COLUMNS if column.more_is_better}, set(measures.HIGHER_IS_BETTER)
        )
        for column in report_data.COLUMNS:
            self.assertEqual(
                column.unit, {"us": "µs", "1/s": "/s"}.get(measures.UNITS[column.name], measures.UNITS[column.name])
            )

    def test_ticks_are_the_bars_as_costs(self):
        ticks = report_limits.Limits(made_up.results()).ticks
        self.assertEqual(ticks["direct", "rr1_p50_us"], 3.9)
        self.assertEqual(ticks["direct", "bulk_cpu_s_per_gb"], 4.3)
        self.assertEqual(ticks["iptables", "stream1k_gbit"], 0.5)

    def test_run_as_a_program(self):
        with tempfile.TemporaryDirectory() as folder:
            source, page = os.path.join(folder, "in.json"), os.path.join(folder, "out.html")
            with open(source, "w") as file:
                file.write(report.json.dumps(made_up.results()))
            subprocess.run(
                [sys.executable, "-B", os.path.join(LIB, "bench", "report.py"), source, page], check=True, cwd="/"
            )
            with open(page, encoding="utf-8") as file:
                self.assertEqual(file.read(), report.page(made_up.results()))


class Scales(unittest.TestCase):
    def test_each_doubling_is_as_far_as_the_other(self):
        scale = report_plot.LogScale([1.2, 7])
        self.assertAlmostEqual(scale.at(2) - scale.at(1), scale.at(4) - scale.at(2))

    def test_the_axis_has_its_1_and_no_two_numbers_in_one_place(self):
        for values in ([], [1], [1.01], [0.2, 1.1], [0.02, 900], [50, 60]):
            with self.subTest(values=values):
                scale = report_plot.LogScale(values)
                self.assertIn(1, scale.steps)
                places = [scale.at(step) for step in scale.steps]
                self.assertTrue(all(after - before > 5 for before, after in zip(places, places[1:])))
                self.assertTrue(all(0 <= scale.at(value) <= 100 for value in values))

    def test_figures_have_three_digits(self):
        for value, said in (
            (0.2534, "0.253"),
            (0.55, "0.550"),
            (1.298, "1.30"),
            (9.996, "10.0"),
            (10.34, "10.3"),
            (334.4, "334"),
            (95400, "95,400"),
            (0, "0"),
        ):
            self.assertEqual(report_data.figures(value), said)


if __name__ == "__main__":
    unittest.main()
