# SPDX-License-Identifier: Apache-2.0
# The bars. What is promised is here and nowhere else.
from .measures import HIGHER_IS_BETTER, UNITS

LOOSE = 1.3  # for --quick, which is for finding what broke, not for figures
# Of these a short run only says that we are not behind: TCP's pacing decides whether the opponent's small writes are joined.
QUICK = {"stream1k_gbit": 1.0}

# ratio, column, bar; at most, but for columns where higher is better: at least
RATIOS = [
    ("ebpf/iptables", "rr16_cpu_us", 0.85),
    ("ebpf/iptables", "crr_cpu_us", 0.90),
    ("ebpf/iptables", "stream1k_gbit", 2.0),
    ("ebpf/direct", "rr1_p50_us", 3.9),
    ("ebpf/direct", "rr16_cpu_us", 2.4),
    ("ebpf/direct", "http16_cpu_us", 1.9),
    ("ebpf/direct", "crr_cpu_us", 3.6),
    ("ebpf/direct", "bulk_cpu_s_per_gb", None),  # by the OpenSSL: see bulk_bar()
    ("ebpf/direct", "samenode_rr16_cpu_us", 3.0),
]
FIGURES = [("rss_per_1000_conns_mb", 1.5), ("idle_rss_mb", 15), ("enrol_p50_ms", 5)]
DECISIONS = [("policies_10_us", 1), ("policies_10000_us", 1)]
NEVER_WORSE = ("ebpf/iptables", 1.05)


class Verdict:
    def __init__(self, what, value, bar, higher, unit=""):
        self.what, self.value, self.bar, self.higher, self.unit = what, value, bar, higher, unit

    @property
    def ok(self):
        return self.value >= self.bar if self.higher else self.value <= self.bar

    def __str__(self):
        how = "at least" if self.higher else "at most"
        return (f"{'ok    ' if self.ok else 'MISSED'}  {self.what:<46} {self.value:8.3g}{self.unit:<3}"
                f" {how:>8} {self.bar:.3g}{self.unit}")


def bulk_bar(openssl):
    """3.0 has no VAES."""
    major, minor = (int(part) for part in (openssl or "3.0").split(".")[:2])
    return 4.3 if (major, minor) >= (3, 5) else 5.6


def judge(results):
    """A verdict for each bar that the result has a figure for, and the names of those that it has none for."""
    quick = results["machine"].get("quick")
    loose = LOOSE if quick else 1.0
    verdicts, missing = [], []

    def put(what, value, bar, higher=False, unit=""):
        if value is None:
            missing.append(what)
        else:
            verdicts.append(Verdict(what, value, bar / loose if higher else bar * loose, higher, unit))

    ratios = results["ratios"]
    for pair, column, bar in RATIOS:
        bar = bar or bulk_bar(results["machine"]["openssl"].get("ebpf"))
        if quick and column in QUICK:
            bar = QUICK[column] * loose
        put(f"{pair} {column}", ratios.get(pair, {}).get(column), bar, column in HIGHER_IS_BETTER)
    barred = {(pair, column) for pair, column, _ in RATIOS}
    pair, most = NEVER_WORSE
    for column in UNITS:
        if (pair, column) not in barred:
            higher = column in HIGHER_IS_BETTER
            put(f"{pair} {column}", ratios.get(pair, {}).get(column), 1 / most if higher else most, higher)
    for column, bar in FIGURES:
        cell = (results["rows"].get("ebpf") or {}).get(column)
        put(f"ebpf {column}", cell and cell["median"], bar, unit=" " + UNITS[column])
    for column, bar in DECISIONS:
        cell = (results.get("decisions") or {}).get(column)
        put(f"decision {column}", cell and cell["median"], bar, unit=" us")
    return verdicts, missing


def report(results):
    """Prints every bar; whether all hold. Nothing to judge is no success."""
    verdicts, missing = judge(results)
    quick = results["machine"].get("quick")
    print("\nthe bars" + (f", loose (x {LOOSE}) for a quick run" if quick else "") + ":")
    for verdict in verdicts:
        print(f"  {verdict}")
    if missing:
        print(f"  not measured: {', '.join(missing)}")
    missed = sum(not verdict.ok for verdict in verdicts)
    print(f"  {len(verdicts) - missed} ok, {missed} missed, {len(missing)} not measured")
    if results["machine"].get("noisy"):
        print("  the machine was noisy: a bar that is missed may be the neighbours' fault")
    return missed == 0 and bool(verdicts)
