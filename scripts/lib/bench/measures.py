# SPDX-License-Identifier: Apache-2.0
# What is measured: each measure drives one kind of traffic and fills one column or a few.
from . import apps, system
from .lab import ECHO_PORT, HTTP_PORT, PORTS, SINK_PORT

# Every column of a result, in the order of the table.
UNITS = {
    "rr1_p50_us": "us", "rr1_p99_us": "us", "rr1_cpu_us": "us", "rr16_cpu_us": "us",
    "http16_cpu_us": "us", "http16_rps": "1/s", "crr_cpu_us": "us", "tunnel_cpu_us": "us",
    "stream1k_gbit": "Gbit/s", "bulk_cpu_s_per_gb": "s/GB", "bulk_gbit": "Gbit/s",
    "samenode_rr16_cpu_us": "us", "samenode_bulk_cpu_s_per_gb": "s/GB",
    "idle_rss_mb": "MB", "rss_per_1000_conns_mb": "MB", "enrol_p50_ms": "ms",
}
HIGHER_IS_BETTER = {"http16_rps", "stream1k_gbit", "bulk_gbit"}
TUNNELS_A_ROUND = 16


class Sample:
    """One run: what it says in each column, of everyone and of the proxies alone, and whose time it took."""

    def __init__(self, row, answer, values, per=None):
        self.values = values
        self.accounted, self.busy = answer["cpu_s"], answer["busy_s"]
        alone = sum(answer["cpu_by_pid"].get(str(pid), 0) for pid in row.proxies.daemon_pids)
        if per and row.proxies.daemon_pids and alone == 0:
            raise system.Trouble(f"{row.name}: its proxies did nothing for {', '.join(per)}: are the pods in the mesh, and are "
                                 "the pids those of the proxies?")
        self.proxies = {column: alone * scale for column, scale in (per or {}).items()}

    @property
    def foreign(self):
        """The part of the machine's time that was not ours."""
        return max(0.0, self.busy / self.accounted - 1) if self.accounted > 0 else 1.0


def rr(connections, column, pod="client", latency=False):
    def measure(row, seconds):
        answer = row.generate(["rr", row.lab.server.ip4, ECHO_PORT, "--connections", connections, "--bytes", 64,
                               "--seconds", seconds], pod)
        values = {f"{column}_cpu_us": answer["cpu_us_per_op"]}
        if latency:
            values |= {f"{column}_p50_us": answer["p50_us"], f"{column}_p99_us": answer["p99_us"]}
        return Sample(row, answer, values, {f"{column}_cpu_us": 1e6 / answer["ops"]})
    return measure


def crr(row, seconds):
    answer = row.generate(["crr", row.lab.server.ip4, f"{ECHO_PORT}x{PORTS}", "--bytes", 64, "--seconds", seconds])
    return Sample(row, answer, {"crr_cpu_us": answer["cpu_us_per_op"]}, {"crr_cpu_us": 1e6 / answer["ops"]})


def tunnel(row, _seconds):
    """Each connection goes to an address that has no tunnel yet."""
    addresses = row.fresh_addresses(TUNNELS_A_ROUND)
    with open(row.lab.path("addresses"), "w") as file:
        file.write("\n".join(addresses) + "\n")
    answer = row.generate(["crr", "--each", row.lab.path("addresses"), ECHO_PORT, "--bytes", 64])
    return Sample(row, answer, {"tunnel_cpu_us": answer["cpu_us_per_op"]}, {"tunnel_cpu_us": 1e6 / answer["ops"]})


def stream(write, columns, pod="client"):
    """columns: which of the answer's figures goes to which column."""
    def measure(row, seconds):
        answer = row.generate(["stream", row.lab.server.ip4, SINK_PORT, "--write", write, "--seconds", seconds], pod)
        per = {column: 1e9 / answer["bytes"] for column in columns.values() if "cpu" in column}
        return Sample(row, answer, {column: answer[figure] for figure, column in columns.items()}, per)
    return measure


def http(row, seconds):
    # wrk counts in whole seconds.
    answer = apps.wrk(f"http://{row.lab.server.ip4}:{HTTP_PORT}/", max(1, round(seconds)), 16, row.lab.client.netns,
                      row.pinning.apps, [*row.servers.http_pids, *row.proxy_accounts])
    values = {"http16_cpu_us": answer["cpu_s"] / answer["ops"] * 1e6, "http16_rps": answer["rps"]}
    return Sample(row, answer, values, {"http16_cpu_us": 1e6 / answer["ops"]})


# By name, as --columns takes them; also which columns each fills.
MEASURES = {
    "rr1": (rr(1, "rr1", latency=True), ["rr1_p50_us", "rr1_p99_us", "rr1_cpu_us"]),
    "rr16": (rr(16, "rr16"), ["rr16_cpu_us"]),
    "http16": (http, ["http16_cpu_us", "http16_rps"]),
    "crr": (crr, ["crr_cpu_us"]),
    "tunnel": (tunnel, ["tunnel_cpu_us"]),
    "stream1k": (stream(1000, {"gbit": "stream1k_gbit"}), ["stream1k_gbit"]),
    "bulk": (stream(65536, {"cpu_s_per_gb": "bulk_cpu_s_per_gb", "gbit": "bulk_gbit"}),
             ["bulk_cpu_s_per_gb", "bulk_gbit"]),
    "samenode_rr16": (rr(16, "samenode_rr16", pod="near"), ["samenode_rr16_cpu_us"]),
    "samenode_bulk": (stream(65536, {"cpu_s_per_gb": "samenode_bulk_cpu_s_per_gb"}, pod="near"),
                      ["samenode_bulk_cpu_s_per_gb"]),
    "memory": (None, ["idle_rss_mb", "rss_per_1000_conns_mb"]),  # footprint.py
    "enrol": (None, ["enrol_p50_ms"]),
    "decide": (None, []),  # decide.py: no row's, but the engine's
}


def chosen(names):
    """The measures for a list of measures, columns or groups (samenode), in the table's order; all for none."""
    picked = set()
    for name in names or MEASURES:
        fits = {measure for measure, (_, columns) in MEASURES.items()
                if name == measure or name in columns or measure.startswith(name + "_")}
        if not fits:
            raise system.Trouble(f"there is no column {name}; there are {', '.join(MEASURES)}, or a column's full name")
        picked |= fits
    return [measure for measure in MEASURES if measure in picked]
