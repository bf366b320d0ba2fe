# SPDX-License-Identifier: Apache-2.0
# The result for a terminal.
import textwrap

from .decide import COLUMNS as DECISIONS
from .measures import UNITS


def render(results):
    lines = []
    if _any(results["rows"]) or not (results.get("split") or results.get("decisions")):
        _section(lines, "one core, CPU summed over everyone: medians", results["rows"],
                 results["ratios"])
    if results.get("split"):
        _section(lines, "split, client and server on one core, proxies on the other: medians",
                 results["split"]["rows"], results["split"]["ratios"])
    if _any(results["proxies"]):
        lines += ["", "the proxies alone: medians", *_grid(results["proxies"], lambda cell: _figure(cell["median"]))]
    decisions = results.get("decisions") or {}
    if decisions:
        lines += ["", "a decision about a connection that no policy concerns: medians",
                  *(f"  {'with ' + words:<28}{_figure(decisions[column]['median']):>9}  us"
                    for column, words in DECISIONS.items() if column in decisions)]
    lines += ["", *_machine(results["machine"])]
    return "\n".join(lines)


def _any(rows):
    return any(cell is not None for cells in rows.values() for cell in cells.values())


def _section(lines, title, rows, ratios):
    lines += ["", title, *_grid(rows, lambda cell: _figure(cell["median"]), with_unit=True)]
    if _any(ratios):
        lines += ["", "ratios: medians over pairs of rounds", *_grid(ratios, lambda ratio: f"{ratio:.2f}")]


def _grid(rows, text, with_unit=False):
    """Columns of the result are lines here: there are more of them than rows, and their names are long."""
    names = list(rows)
    columns = [column for column in UNITS if any(rows[name].get(column) is not None for name in names)]
    widths = [max(len(name), 9) for name in names]
    out = [" " * 30 + "  ".join(name.rjust(width) for name, width in zip(names, widths))]
    for column in columns:
        cells = [rows[name].get(column) for name in names]
        out.append(f"  {column:<28}" + "  ".join(("-" if cell is None else text(cell)).rjust(width)
                                                 for cell, width in zip(cells, widths))
                   + (f"  {UNITS[column]}" if with_unit else ""))
    return out


def _figure(value):
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"


def _machine(machine):
    builds = "; ".join(f"{row}: " + ", ".join(_build(machine, row)) for row in machine["openssl"])
    lines = [f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, Linux {machine['kernel']}, "
             f"TCP {machine['congestion_control']}, load {machine['load']}, {machine['date']}, commit {machine['commit']}",
             f"mitigations: {machine['mitigations']}",
             f"pinning: {machine['pinning']}; {machine['rounds']} rounds of {machine['seconds']} s; {builds}",
             f"others used {100 * (machine['foreign'] or 0):.1f} % of our time beside the runs that count; dropped for their "
             f"work: {_counts(machine['dropped'])}"]
    lines = [part for line in lines for part in textwrap.wrap(line, 118, subsequent_indent="  ")]
    if machine["noisy"]:
        lines += ["", "NOISY: no quiet machine could be had. Kept although somebody else used more than 10 % of our time: "
                      f"{_counts(machine['kept_noisy'])}"]
    lines += ["", *(part for note in machine["notes"]
                    for part in textwrap.wrap(note, 118, initial_indent="* ", subsequent_indent="  "))]
    return lines


def _build(machine, row):
    openssl = machine["openssl"][row]
    parts = [machine["versions"].get(row), openssl and f"OpenSSL {openssl}", machine["compiler"].get(row)]
    return [part for part in parts if part] or ["unknown"]


def _counts(by_row):
    return ", ".join(f"{row} {count}" for row, count in by_row.items() if count) or "none"
