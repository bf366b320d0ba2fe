# SPDX-License-Identifier: Apache-2.0
# A result of scripts/bench that nobody measured: made up, near enough to real ones to draw and judge. Never quote it.
COLUMNS = {
    # column: unit, then the medians of direct, iptables, ebpf, a peer
    "rr1_p50_us": ("us", 10.3, 43.1, 36.8, 48.9),
    "rr1_p99_us": ("us", 21.5, 88.0, 71.0, 117.0),
    "rr1_cpu_us": ("us", 10.9, 45.0, 38.9, 50.4),
    "rr16_cpu_us": ("us", 7.3, 20.3, 16.4, 33.5),
    "http16_cpu_us": ("us", 10.4, 21.9, 18.6, 41.6),
    "http16_rps": ("1/s", 95400, 45200, 53300, 23800),
    "crr_cpu_us": ("us", 47.7, 187.0, 153.0, 334.0),
    "tunnel_cpu_us": ("us", None, 1490, 1440, 2200),
    "stream1k_gbit": ("Gbit/s", 5.45, 0.81, 4.05, 3.04),
    "bulk_cpu_s_per_gb": ("s/GB", 0.253, 1.09, 1.04, 1.298),
    "bulk_gbit": ("Gbit/s", 31.2, 7.3, 7.7, 6.1),
    "samenode_rr16_cpu_us": ("us", 6.1, 19.8, 17.0, 33.3),
    "samenode_bulk_cpu_s_per_gb": ("s/GB", 0.236, 1.06, 1.01, 1.262),
    "idle_rss_mb": ("MB", None, 11.9, 11.7, 15.7),
    "rss_per_1000_conns_mb": ("MB", None, 1.35, 1.32, 6.1),
    "enrol_p50_ms": ("ms", None, 18.4, 2.9, None),
}
HIGHER = ("http16_rps", "stream1k_gbit", "bulk_gbit")
ROWS = ("direct", "iptables", "ebpf", "ztunnel")
PROXIES = {
    "rr1_cpu_us": 0.78,
    "rr16_cpu_us": 0.74,
    "http16_cpu_us": 0.7,
    "crr_cpu_us": 0.8,
    "tunnel_cpu_us": 0.95,
    "bulk_cpu_s_per_gb": 0.82,
    "samenode_rr16_cpu_us": 0.7,
    "samenode_bulk_cpu_s_per_gb": 0.8,
}


def cell(value, unit, seed, rounds=7):
    if value is None:
        return None
    spread = 0.015 + (seed * 7919 % 13) / 200  # some columns are noisier than others
    return {
        "median": value,
        "min": round(value * (1 - spread * 0.6), 4),
        "max": round(value * (1 + spread), 4),
        "rounds": rounds,
        "unit": unit,
    }


def rows_of(factor):
    return {
        row: {
            column: cell(
                value and round(value * (factor if row != "direct" else 1 + (factor - 1) / 4), 4), unit, i * 5 + j
            )
            for j, (column, (unit, *values)) in enumerate(COLUMNS.items())
            for value in [values[i]]
        }
        for i, row in enumerate(ROWS)
    }


def ratios_of(rows):
    def ratio(one, other, column):
        ours, theirs = rows[one][column], rows[other][column]
        return round(ours["median"] / theirs["median"], 4) if ours and theirs else None

    pairs = [(row, "direct") for row in ROWS[1:]] + [("ebpf", "iptables"), ("ebpf", "ztunnel"), ("iptables", "ztunnel")]
    return {f"{one}/{other}": {column: ratio(one, other, column) for column in COLUMNS} for one, other in pairs}


def results():
    rows, split = rows_of(1.0), rows_of(1.22)
    for cells in split.values():
        cells.update({column: None for column in ("idle_rss_mb", "rss_per_1000_conns_mb", "enrol_p50_ms")})
    proxies = {
        row: {
            column: cell(found["median"] * PROXIES[column], found["unit"], 3) if (found := rows[row][column]) else None
            for column in PROXIES
        }
        for row in ROWS[1:]
    }
    return {
        "machine": {
            "cpu": "Made Up CPU @ 2.70GHz",
            "cores": 2,
            "kernel": "6.18.0-made-up",
            "mitigations": "spectre_v2: Retpolines; spec_store_bypass: Prctl",
            "load": "0.42 0.61 0.55",
            "congestion_control": "cubic",
            "memory_gb": 8.3,
            "date": "2026-11-26T20:00:00Z",
            "commit": "0123456789ab",
            "openssl": {"direct": None, "iptables": "3.5.4", "ebpf": "3.5.4", "ztunnel": None},
            "compiler": {"direct": None, "iptables": "GCC 14.2.0", "ebpf": "GCC 14.2.0", "ztunnel": None},
            "pinning": "everything on core 1; split: apps on core 0, proxies on core 1",
            "rounds": 7,
            "seconds": 2,
            "dropped": {"direct": 0, "iptables": 2, "ebpf": 1, "ztunnel": 0},
            "noisy": False,
            "kept_noisy": {"direct": 0, "iptables": 0, "ebpf": 0, "ztunnel": 0},
            "foreign": 0.012,
            "versions": {"iptables": "culvertd 0.0.0", "ebpf": "culvertd 0.0.0"},
            "notes": ["made-up test data, not a result"],
            "command": "scripts/bench --rounds 7 --peer ztunnel=./ztunnel.sh --json made-up.json",
        },
        "rows": rows,
        "ratios": ratios_of(rows),
        "split": {"rows": split, "ratios": ratios_of(split)},
        "proxies": proxies,
    }
