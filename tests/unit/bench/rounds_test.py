# SPDX-License-Identifier: Apache-2.0
# The order of rounds, what is thrown away, and what becomes of what is left.
import os
import sys
import types
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "..", "scripts", "lib")]

from bench import measures, results, rounds, system


def row(name):
    return types.SimpleNamespace(name=name, proxies=types.SimpleNamespace(daemon_pids=[7]))


def sample(value=1.0, foreign=0.0, column="rr16_cpu_us"):
    made = measures.Sample(row("any"), {"cpu_s": 1.0, "busy_s": 1.0 + foreign, "cpu_by_pid": {"7": 0.4, "self": 0.6}},
                           {column: value}, {column: value})
    return made


class Rounds(unittest.TestCase):
    def setUp(self):
        self.rows = [row("direct"), row("iptables"), row("ebpf")]

    def test_rows_take_turns_there_and_back(self):
        order = []
        rounds.play(self.rows, lambda row, seconds: order.append(row.name) or sample(), 1, 3,
                    rounds.Polluted(self.rows, 9), lambda number, row: None)
        there = ["direct", "iptables", "ebpf"]
        self.assertEqual(order, there + there[::-1] + there)

    def test_a_run_that_others_disturbed_is_repeated_and_counted(self):
        polluted = rounds.Polluted(self.rows, 9)
        runs = iter([sample(9, foreign=0.11), sample(1, foreign=0.09)])
        self.assertEqual(polluted.quiet_sample(self.rows[0], lambda: next(runs)).values["rr16_cpu_us"], 1)
        self.assertEqual(polluted.dropped, {"direct": 1, "iptables": 0, "ebpf": 0})
        self.assertFalse(polluted.noisy)

    def test_without_a_quiet_run_the_least_bad_of_three_is_kept_and_said(self):
        polluted = rounds.Polluted(self.rows, 9)
        runs = iter([sample(1, 0.5), sample(2, 0.2), sample(3, 0.4), sample(4)])
        self.assertEqual(polluted.quiet_sample(self.rows[2], lambda: next(runs)).values["rr16_cpu_us"], 2)
        self.assertEqual((polluted.dropped["ebpf"], polluted.kept["ebpf"], polluted.noisy), (2, 1, True))

    def test_repeating_has_an_end(self):
        polluted = rounds.Polluted(self.rows, 3)
        taken = []
        for _ in range(5):
            polluted.quiet_sample(self.rows[0], lambda: taken.append(1) or sample(1, 0.5))
        self.assertEqual(len(taken), 5 + 3)

    def test_a_run_of_no_time_at_all_is_no_quiet_one(self):
        nothing = measures.Sample(row("any"), {"cpu_s": 0, "busy_s": 0, "cpu_by_pid": {}}, {})
        self.assertGreater(nothing.foreign, rounds.FOREIGN_LIMIT)


class Results(unittest.TestCase):
    def table(self, **columns):
        table = results.Table(["direct", "iptables", "ebpf"])
        for name, values in columns.items():
            table.add({name: [sample(value) for value in values]})
        return table

    def test_a_ratio_is_the_median_of_the_rounds_pairs_not_a_pair_of_medians(self):
        table = self.table(direct=[1, 2, 10], ebpf=[4, 4, 10])  # 4, 2, 1; medians 2 and 4 agree here, so:
        self.assertEqual(table.ratios(["rr16_cpu_us"])["ebpf/direct"]["rr16_cpu_us"], 2)
        table = self.table(direct=[1, 10, 100], ebpf=[3, 20, 10])  # 3, 2, 0.1; the medians' ratio would be 1
        self.assertEqual(table.ratios(["rr16_cpu_us"])["ebpf/direct"]["rr16_cpu_us"], 2)

    def test_a_cell_has_median_minimum_maximum_rounds_and_unit(self):
        table = self.table(ebpf=[3, 1, 2])
        self.assertEqual(table.rows(["rr16_cpu_us"])["ebpf"]["rr16_cpu_us"],
                         {"median": 2, "min": 1, "max": 3, "rounds": 3, "unit": "us"})

    def test_what_does_not_apply_is_null(self):
        table = self.table(ebpf=[3])
        self.assertIsNone(table.rows(["rr16_cpu_us"])["direct"]["rr16_cpu_us"])
        self.assertIsNone(table.ratios(["rr16_cpu_us"])["ebpf/direct"]["rr16_cpu_us"])
        self.assertIsNone(table.ratios(["crr_cpu_us"])["ebpf/iptables"]["crr_cpu_us"])

    def test_the_proxies_share_is_theirs_alone(self):
        table = results.Table(["direct", "ebpf"])
        made = measures.Sample(row("ebpf"), {"cpu_s": 1.0, "busy_s": 1.0, "cpu_by_pid": {"7": 0.4, "self": 0.6}},
                               {"rr16_cpu_us": 10}, {"rr16_cpu_us": 10})
        table.add({"ebpf": [made]})
        self.assertEqual(table.proxies_alone(["rr16_cpu_us"])["ebpf"]["rr16_cpu_us"]["median"], 4)

    def test_who_is_compared_with_whom(self):
        self.assertEqual(results.pairs(["direct", "iptables", "ebpf"]),
                         [("iptables", "direct"), ("ebpf", "direct"), ("ebpf", "iptables")])
        self.assertEqual(results.pairs(["direct", "ebpf", "vs"]),
                         [("ebpf", "direct"), ("vs", "direct"), ("vs", "ebpf")])
        self.assertIn(("ebpf", "ztunnel"), results.pairs(["direct", "ebpf", "ztunnel"]))


class Columns(unittest.TestCase):
    def test_a_measure_a_column_and_a_group_can_be_named(self):
        self.assertEqual(measures.chosen(["rr16"]), ["rr16"])
        self.assertEqual(measures.chosen(["bulk_gbit", "rr1"]), ["rr1", "bulk"])
        self.assertEqual(measures.chosen(["samenode"]), ["samenode_rr16", "samenode_bulk"])
        self.assertEqual(measures.chosen([]), list(measures.MEASURES))
        with self.assertRaisesRegex(system.Trouble, "there is no column rr2"):
            measures.chosen(["rr2"])

    def test_the_measures_fill_every_column_once(self):
        filled = [column for _, columns in measures.MEASURES.values() for column in columns]
        self.assertEqual(sorted(filled), sorted(measures.UNITS))


if __name__ == "__main__":
    unittest.main()
