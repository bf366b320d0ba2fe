# SPDX-License-Identifier: Apache-2.0
# Flat or not, on soaks that are made up.
import os
import sys
import unittest
from types import SimpleNamespace

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "scripts", "lib"))

from soak import judge

SECONDS = 600
LEVELS = {"rss_kb": 27000, "anon_kb": 11000, "threads": 4, "pins": 18, "map.cv_pods": 2, "map.cv_flows": 230, "fds": 400,
          "connections_open": 225, "tunnels_in_open": 50, "tunnels_out_open": 50}
COMMON = {"tcp_sockets": 1400, "socket_bytes": 19e6, "machine.tcp_pages": 130, "close_wait": 2}
ALL = {f"n{node}.{name}": value for node in (1, 2) for name, value in LEVELS.items()} | COMMON


def soak(seconds=SECONDS, slope=None, kept=None, counters=None, job=None, held="", wrong=0):
    """Everything level, but for figures that grow by so much over the whole time, or are kept afterwards."""
    series = {name: [(second, value + (slope or {}).get(name, 0) * second / seconds) for second in range(seconds + 1)]
              for name, value in ALL.items()}
    quiet = {name: value if name.endswith(("kb", "pins", "threads", "map.cv_pods")) else 0 for name, value in ALL.items()}
    page = {key: 5 for key in judge.DONE_COUNTERS} | (counters or {})
    job = job or SimpleNamespace(name="requests", ops=1000, errors=0, words=[], strict=True)
    return judge.result({"capture": "ebpf"}, series, 0, seconds, quiet=(quiet, quiet | (kept or {})), pages=[page, page],
                        jobs=[job], resets={"ours": 1, "theirs": 1, "well": 1, "wrong": wrong, "words": []}, held=held)


class Flat(unittest.TestCase):
    def test_level_figures_are_flat(self):
        result = soak()
        self.assertEqual(result["why"], [])
        self.assertTrue(result["flat"])
        self.assertEqual(result["first"]["n1.fds"], {"median": 400, "min": 400, "max": 400})

    def test_the_first_minute_comes_after_a_minute_of_warming(self):
        self.assertEqual(soak(slope={"n1.fds": 600})["first"]["n1.fds"], {"median": 490, "min": 460, "max": 520})

    def test_what_shrinks_is_flat(self):
        self.assertTrue(soak(slope={"n1.rss_kb": -9000, "n2.fds": -100})["flat"])

    def test_growth_beyond_the_slack_is_named(self):
        for name, growth in (("n1.rss_kb", 3000), ("n2.fds", 100), ("n1.threads", 2), ("n2.pins", 3), ("n1.map.cv_flows", 80),
                             ("n2.tunnels_in_open", 30), ("close_wait", 60), ("socket_bytes", 30e6)):
            with self.subTest(name):
                why = soak(slope={name: growth})["why"]
                self.assertEqual(len(why), 1, why)
                self.assertIn(name, why[0])

    def test_growth_within_the_slack_is_none(self):
        self.assertTrue(soak(slope={"n1.rss_kb": 600, "n2.fds": 20, "n1.map.cv_flows": 10})["flat"])

    def test_what_is_kept_without_load_is_named(self):
        for name, more in (("n1.fds", 1), ("n2.map.cv_pods", 3), ("n1.threads", 5), ("n2.map.cv_flows", 1), ("close_wait", 1),
                           ("n1.connections_open", 1), ("n2.rss_kb", 40000)):
            with self.subTest(name):
                why = soak(kept={name: more})["why"]
                self.assertEqual(len(why), 1, why)
                self.assertIn("without load", why[0])

    def test_descriptors_of_kept_tunnels_are_not_kept_for_nothing(self):
        self.assertTrue(soak(kept={"n1.fds": 7, "n1.tunnels_out_open": 4, "n1.tunnels_in_open": 3})["flat"])

    def test_a_short_soak_may_still_find_its_level(self):
        self.assertTrue(soak(seconds=20, slope={"n1.rss_kb": 4000, "n1.tunnels_out_open": 60})["flat"])
        self.assertFalse(soak(seconds=20, kept={"n1.fds": 1})["flat"])

    def test_each_counter_that_must_be_zero_is(self):
        for key in judge.ZERO_COUNTERS:
            with self.subTest(key):
                why = soak(counters={key: 1})["why"]
                self.assertEqual(len(why), 1, why)
                self.assertIn(key[0], why[0])

    def test_an_error_of_the_load_is_told_in_its_words(self):
        job = SimpleNamespace(name="bulk", ops=10, errors=1, words=["the sink got less"], strict=True)
        why = soak(job=job)["why"]
        self.assertIn("bulk: the sink got less", why)
        job.strict = False
        self.assertTrue(soak(job=job)["flat"])

    def test_wrong_ends_and_dead_connections_are_not_flat(self):
        self.assertFalse(soak(wrong=1)["flat"])
        self.assertFalse(soak(held="a held connection died")["flat"])

    def test_a_soak_in_which_nothing_happened_shows_nothing(self):
        idle = SimpleNamespace(name="bulk", ops=0, errors=0, words=[], strict=True)
        self.assertIn("bulk: nothing was done", soak(job=idle)["why"])
        self.assertFalse(soak(counters={("culvert_certificate_renewals_total", ""): 0})["flat"])


if __name__ == "__main__":
    unittest.main()
