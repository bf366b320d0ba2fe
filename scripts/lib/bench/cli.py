# SPDX-License-Identifier: Apache-2.0
# The command line: from words to a run, and from its result to files, a table and a status.
import argparse
import json
import os
import shutil
import sys

from . import judge, measures, run, system, table


def main(scripts, words):
    options = _parse(scripts, words)
    try:
        if options.check:
            return _check(options.check)
        options.command = " ".join(["scripts/bench", *words])
        system.sigterm_is_ctrl_c()
        results = _measure(scripts, options)
        return _hand_out(results, options)
    except (system.Trouble, OSError, ValueError) as trouble:
        print(f"bench: {trouble}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: interrupted; everything is removed", file=sys.stderr)
        return 130


def _parse(scripts, words):
    parser = Parser(prog="scripts/bench", add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    for flag in ("--native", "--quick", "--nodelay"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--rounds", type=_positive(int))
    parser.add_argument("--seconds", type=_positive(float))
    parser.add_argument("--pinning", choices=["one", "split"])
    parser.add_argument("--rows", type=_list, default=["direct", "iptables", "ebpf"])
    parser.add_argument("--columns", type=_list, default=[])
    parser.add_argument("--peer", action="append", type=_peer, default=[])
    for path in ("--culvertd", "--vs", "--json", "--html", "--profile"):
        parser.add_argument(path, type=os.path.abspath)
    parser.add_argument("--generator", type=os.path.abspath, default=os.environ.get("CULVERT_LOAD"))
    parser.add_argument("--check", nargs="?", const="", default=None)
    options = parser.parse_args(words)
    if options.help:
        print(system.usage(os.path.join(scripts, "bench")), end="")
        sys.exit(0)
    return options


def _check(path):
    try:
        with open(path) as file:
            return 0 if judge.report(json.load(file)) else 1
    except (ValueError, KeyError, TypeError, AttributeError):
        raise system.Trouble(f"{path} is no result of scripts/bench") from None


class Parser(argparse.ArgumentParser):
    def error(self, message):
        print(f"bench: {message}; scripts/bench -h says what there is", file=sys.stderr)
        sys.exit(2)


def _measure(scripts, options):
    names = [*options.rows, *(name for name, _ in options.peer)] + (["vs"] if options.vs else [])
    if not names:
        raise system.Trouble("there is no row to measure")
    if len(set(names)) < len(names):
        raise system.Trouble(f"a row twice: {', '.join(names)}")
    for row in options.rows:
        if row not in ("direct", "iptables", "ebpf"):
            raise system.Trouble(f"there is no row {row}; there are direct, iptables and ebpf, --vs and --peer")
    options.measures = measures.chosen(options.columns)
    options.rounds = options.rounds or (2 if options.quick else 6)
    options.seconds = options.seconds or (0.5 if options.quick else 1.5)
    if os.geteuid() != 0:
        raise system.Trouble("needs root: it makes network namespaces and loads BPF programs")
    for path in (options.json, options.html):
        system.check_can_be_written(path)
    for row, path in (("--culvertd", options.culvertd), ("--vs", options.vs)):
        if path and (os.path.isdir(path) or not os.access(path, os.X_OK)):
            raise system.Trouble(f"{row} {path}: there is no such program")
    return run.run(scripts, options)


def _hand_out(results, options):
    print("\n" + table.render(results), flush=True)  # first: a full disk must not take it along
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)
            file.write("\n")
    if options.html:
        try:
            from . import report
        except ImportError:
            raise system.Trouble("there is no scripts/lib/bench/report.py, which writes the HTML") from None
        report.write(results, options.html)
    if options.check is not None:
        return 0 if judge.report(results) else 1
    return 0


def _positive(kind):
    def parse(word):
        if not 0 < kind(word) < float("inf"):
            raise ValueError
        return kind(word)
    parse.__name__ = "value (above 0)"
    return parse


def _list(word):
    return [part for part in word.split(",") if part]


def _peer(word):
    name, _, script = word.partition("=")
    if not name or not script:
        raise argparse.ArgumentTypeError(f"NAME=SCRIPT, not '{word}'")
    if name in ("direct", "iptables", "ebpf", "vs"):
        raise argparse.ArgumentTypeError(f"{name} is a row of ours")
    script = os.path.abspath(script) if os.path.sep in script else shutil.which(script) or os.path.abspath(script)
    if not os.access(script, os.X_OK):
        raise argparse.ArgumentTypeError(f"{script} is no program")
    return name, script
