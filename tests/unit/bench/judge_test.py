# SPDX-License-Identifier: Apache-2.0
# The bars, on results that are made up.
import contextlib
import copy
import io
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "..", "scripts", "lib")]

from bench import judge, measures

# Everything exactly at its bar.
AT_THE_BARS = {
    "machine": {"openssl": {"ebpf": "3.5.1"}, "quick": False, "noisy": False},
    "rows": {"ebpf": {"rss_per_1000_conns_mb": {"median": 1.5}, "idle_rss_mb": {"median": 15},
                      "enrol_p50_ms": {"median": 5}}},
    "decisions": {column: {"median": bar} for column, bar in judge.DECISIONS},
    "ratios": {
        "ebpf/iptables": {column: 1 / 1.05 if column in measures.HIGHER_IS_BETTER else 1.05 for column in measures.UNITS}
        | {"rr16_cpu_us": 0.85, "crr_cpu_us": 0.90, "stream1k_gbit": 2.0},
        "ebpf/direct": {"rr1_p50_us": 3.9, "rr16_cpu_us": 2.4, "http16_cpu_us": 1.9, "crr_cpu_us": 3.6,
                        "bulk_cpu_s_per_gb": 4.3, "samenode_rr16_cpu_us": 3.0},
    },
}


def missed(results):
    return sorted(verdict.what for verdict in judge.judge(results)[0] if not verdict.ok)


def changed(**parts):
    """The results at the bars, with one ratio or one figure changed: pair__column or column."""
    results = copy.deepcopy(AT_THE_BARS)
    for name, value in parts.items():
        pair, _, column = name.partition("__")
        if column:
            results["ratios"]["ebpf/" + pair][column] = value
        else:
            results["rows"]["ebpf"][name] = {"median": value}
    return results


class Judge(unittest.TestCase):
    def test_what_is_at_its_bar_is_ok_and_every_column_is_judged_somewhere(self):
        self.assertEqual(missed(AT_THE_BARS), [])
        verdicts, missing = judge.judge(AT_THE_BARS)
        self.assertEqual(missing, [])
        judged = {verdict.what.split()[-1] for verdict in verdicts}
        self.assertEqual(judged, set(measures.UNITS) | {column for column, _ in judge.DECISIONS})

    def test_each_bar_is_missed_alone(self):
        for pair, column, _ in judge.RATIOS:
            at = AT_THE_BARS["ratios"][pair][column]
            worse = at * 0.98 if column in measures.HIGHER_IS_BETTER else at * 1.02
            with self.subTest(pair=pair, column=column):
                self.assertEqual(missed(changed(**{f"{pair.split('/')[1]}__{column}": worse})), [f"{pair} {column}"])
        for column, at in judge.FIGURES:
            with self.subTest(column=column):
                self.assertEqual(missed(changed(**{column: at * 1.02})), [f"ebpf {column}"])
        for column, at in judge.DECISIONS:
            results = copy.deepcopy(AT_THE_BARS)
            results["decisions"][column]["median"] = at * 1.02
            with self.subTest(column=column):
                self.assertEqual(missed(results), [f"decision {column}"])

    def test_no_column_may_be_more_than_five_percent_worse_than_iptables(self):
        self.assertEqual(missed(changed(iptables__http16_rps=0.94)), ["ebpf/iptables http16_rps"])
        self.assertEqual(missed(changed(iptables__tunnel_cpu_us=1.06)), ["ebpf/iptables tunnel_cpu_us"])
        self.assertEqual(missed(changed(iptables__http16_rps=2, iptables__tunnel_cpu_us=0.5)), [])

    def test_bulk_is_judged_by_the_openssl_that_ran(self):
        results = changed(direct__bulk_cpu_s_per_gb=5.5)
        for version, bar_is_missed in (("3.0.19", False), ("3.4.0", False), ("3.5.0", True), ("4.0.0", True), (None, False)):
            results["machine"]["openssl"]["ebpf"] = version
            with self.subTest(version=version):
                self.assertEqual(bool(missed(results)), bar_is_missed)

    def test_a_quick_run_has_loose_bars(self):
        results = changed(direct__rr16_cpu_us=3.0, iptables__stream1k_gbit=1.6)
        self.assertEqual(len(missed(results)), 2)
        results["machine"]["quick"] = True
        self.assertEqual(missed(results), [])
        self.assertEqual(len(missed(changed(direct__rr16_cpu_us=3.2))), 1)

    def test_a_rate_that_moves_with_pacing_is_not_to_be_behind_in_a_quick_run(self):
        for ratio, expected in ((1.01, []), (0.99, ["ebpf/iptables stream1k_gbit"])):
            results = changed(iptables__stream1k_gbit=ratio)
            results["machine"]["quick"] = True
            with self.subTest(ratio=ratio):
                self.assertEqual(missed(results), expected)

    def test_what_was_not_measured_is_named_and_nothing_at_all_is_no_success(self):
        for nothing in ({}, {"ebpf/direct": {}}, {"ebpf/direct": {"rr16_cpu_us": None}}):
            results = {"machine": {"openssl": {}}, "rows": {}, "ratios": nothing}
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                self.assertFalse(judge.report(results))
            self.assertIn("0 ok, 0 missed", said.getvalue())
            self.assertIn("ebpf/direct rr16_cpu_us", said.getvalue())


if __name__ == "__main__":
    unittest.main()
