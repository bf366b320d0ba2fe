#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The breakages in tests/mutations, for scripts/mutate.

A file holds records like this one. The text to replace stands exactly once in the file of the source; both texts keep
their indentation, and `with:` may be empty. The test is a binary's, by the name of its case; "netns_tests iptables" runs
it with that capture.

    [empty_slot_passes]
    why: A pod whose proxy is only starting would let strangers in.
    file: bpf/lookup.bpf.c
    test: bpf_tests: lookup: without a listener it is refused, never let past
    replace:
        if (!listener) return CV_REASON_DROP_NO_LISTENER;
    with:
        if (!listener) return reason;
"""
import os
import re
import shutil
import subprocess
import sys

HEAD = re.compile(r"\[([a-z0-9_]+)\]$")
TEST = re.compile(r"(\w+)(?: (\w+))?: (.+)$")


class Breakage:
    def __init__(self, name):
        self.name = name
        self.fields = {}
        self.texts = {}

    def finish(self):
        for key in ("why", "file", "test"):
            if key not in self.fields:
                sys.exit(f"{self.name}: without {key}:")
        if "replace" not in self.texts or "with" not in self.texts:
            sys.exit(f"{self.name}: without replace: or with:")
        parsed = TEST.match(self.fields["test"])
        if not parsed:
            sys.exit(f"{self.name}: test: is not \"BINARY: CASE\"")
        self.binary, self.capture, self.case = parsed[1], parsed[2] or "ebpf", parsed[3]
        self.file = self.fields["file"]
        self.old = "\n".join(self.texts["replace"]).rstrip("\n")
        self.new = "\n".join(self.texts["with"]).rstrip("\n")
        return self

    def places(self, tree):
        try:
            with open(os.path.join(tree, self.file)) as source:
                return source.read().count(self.old)
        except FileNotFoundError:
            return 0


def read(path):
    found, current, text = [], None, None
    for line in open(path).read().splitlines():
        head = HEAD.match(line)
        if head:
            current, text = Breakage(head[1]), None
            found.append(current)
        elif current is None:
            continue  # what stands before the first record is for people
        elif line in ("replace:", "with:"):
            text = current.texts.setdefault(line[:-1], [])
        elif text is not None:
            text.append(line)
        elif line:
            key, _, value = line.partition(": ")
            current.fields[key] = value
    return [one.finish() for one in found]


def everything(root, text=""):
    folder = os.path.join(root, "tests/mutations")
    all_of_them = [one for name in sorted(os.listdir(folder)) if name.endswith(".txt")
                   for one in read(os.path.join(folder, name))]
    names = [one.name for one in all_of_them]
    for name in names:
        if names.count(name) > 1:
            sys.exit(f"{name}: stands there twice")
    return [one for one in all_of_them if any(re.search(text, it) for it in (one.name, one.file, one.fields["test"]))]


def named(root, name):
    return next(one for one in everything(root) if one.name == name)


def list_them(root, text):
    for one in everything(root, text):
        print(f"{one.name}\n    {one.fields['why']}\n    {one.file}\n    {one.fields['test']}")


def table(root, text):
    for one in everything(root, text):
        print(one.name, one.binary, one.capture, one.case, sep="\t")


def check(root, tree, text):
    every = list(everything(root, text))
    wrong = [one for one in every if one.places(tree) != 1]
    for one in wrong:
        print(f"{one.name}: its text stands {one.places(tree)} times in {one.file}, not once")
    print(f"{len(every) - len(wrong)} of {len(every)} breakages fit the source")
    sys.exit(bool(wrong))


# Only what differs is written: the build of the copy is incremental, too.
def copy(root, tree):
    listed = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard", "-z"], check=True,
                            capture_output=True).stdout.decode().split("\0")
    wanted = {name for name in listed if name and os.path.isfile(os.path.join(root, name))}
    for folder, _, files in os.walk(tree):
        for name in files:
            path = os.path.join(folder, name)
            if os.path.relpath(path, tree) not in wanted:
                os.unlink(path)
    for name in wanted:
        source, target = os.path.join(root, name), os.path.join(tree, name)
        if os.path.isfile(target):
            with open(source, "rb") as a, open(target, "rb") as b:
                if a.read() == b.read():
                    continue
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(source, target)
        shutil.copymode(source, target)


def replace(path, old, new):
    with open(path) as source:
        text = source.read()
    assert text.count(old) == 1
    with open(path, "w") as source:
        source.write(text.replace(old, new))


def break_it(root, tree, name):
    one = named(root, name)
    path = os.path.join(tree, one.file)
    shutil.copyfile(path, os.path.join(tree, "..", "whole"))
    replace(path, one.old, one.new)


def mend(root, tree, name):
    shutil.copyfile(os.path.join(tree, "..", "whole"), os.path.join(tree, named(root, name).file))


def verdict(log, status):
    with open(log, errors="replace") as file:
        said = re.sub(r"\x1b\[[0-9;]*m", "", file.read())
    summary = re.search(r"\[doctest\] test cases:\s*(\d+)\s*\|\s*(\d+) passed\s*\|\s*(\d+) failed", said)
    if status in ("124", "137"):
        return "timed out"
    if status == "77":
        return "was skipped"
    # Behind a failed assertion a crash may be what stopping there does to a test that has a thread.
    if not summary or "test case CRASHED" in said and not re.search(r"ERROR: (CHECK|REQUIRE)", said):
        return "crashed"
    if summary[1] == "0":
        return "there is no such test"
    if summary[3] != "0":
        return "noticed"
    return "passed" if status == "0" else f"ended with status {status}"


def main():
    what, *rest = sys.argv[1:]
    if what == "verdict":
        print(verdict(*rest))
    else:
        {"list": list_them, "table": table, "check": check, "copy": copy, "break": break_it, "mend": mend}[what](*rest)


main()
