# SPDX-License-Identifier: Apache-2.0
# The command line: from words to a run, and from its result to a file, a table and a status.
import argparse
import json
import os
import subprocess
import sys

from bench import system

from . import judge, run


def main(scripts, words):
    options = _parse(scripts, words)
    try:
        _check(scripts, options)
        system.sigterm_is_ctrl_c()
        result = run.run(scripts, options)
        judge.show(result)  # first: a full disk must not take it along
        sys.stdout.flush()
        if options.json:
            with open(options.json, "w") as file:
                json.dump(result, file, indent=1)
                file.write("\n")
        return 0 if result["flat"] else 1
    except (system.Trouble, OSError, ValueError) as trouble:
        print(f"soak: {trouble}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("soak: interrupted; everything is removed", file=sys.stderr)
        return 130


def _parse(scripts, words):
    parser = argparse.ArgumentParser(prog="scripts/soak", add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("seconds", type=float, nargs="?")
    parser.add_argument("--image", action="store_true")
    parser.add_argument("--capture", choices=["ebpf", "iptables"], default="ebpf")
    for path in ("--culvertd", "--generator", "--json"):
        parser.add_argument(path, type=os.path.abspath)
    options = parser.parse_args(words)
    if options.help:
        print(system.usage(os.path.join(scripts, "soak")), end="")
        sys.exit(0)
    options.command = " ".join(["scripts/soak", *words])
    return options


def _check(scripts, options):
    if not options.seconds or not 10 <= options.seconds < float("inf"):
        raise system.Trouble("how long? SECONDS is 10 or more (scripts/soak --help)")
    if os.geteuid() != 0:
        raise system.Trouble("needs root: it makes network namespaces and loads BPF programs")
    system.check_can_be_written(options.json)
    root = os.path.dirname(scripts)
    native = os.path.join(root, "build/release/bin")
    wanted = []
    if not options.generator:
        options.generator = os.path.join(native, "culvert_load")
        wanted.append("culvert_load")
    if options.image and not options.culvertd:
        _run([os.path.join(scripts, "image"), "--print-root"])
        options.culvertd = os.path.join(root, "build/image/culvertd")
    elif not options.culvertd:
        options.culvertd = os.path.join(native, "culvertd")
        wanted.append("culvertd")
    if any(not os.access(os.path.join(native, name), os.X_OK) for name in wanted):
        _run([os.path.join(scripts, "build"), *wanted])
    for path in (options.culvertd, options.generator):
        if os.path.isdir(path) or not os.access(path, os.X_OK):
            raise system.Trouble(f"{path}: there is no such program")


def _run(command):
    if subprocess.run(command, stdout=sys.stderr).returncode != 0:
        raise system.Trouble(f"{command[0]} failed; its last lines are above")
