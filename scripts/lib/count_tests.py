#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# count_tests.py FILE...: what the runs held, counted in doctest's cases: PASSED FAILED on the last line. A file is ctest's
# JUnit report, or the output of one binary ending with "exit status N".
#
# A binary that ends without doctest's summary, or badly in spite of one (a sanitizer's finding at exit, a time-out), is one
# failed case; a test that is no doctest binary is one case, unless it has nothing to say: that is a preparation. A skipped test is a failed one unless it is in MAY_SKIP: where
# we are root, with everything installed, nothing has a reason to be skipped.
import os
import re
import sys
import xml.etree.ElementTree

SUMMARY = re.compile(r"\[doctest\] test cases:\s*(\d+)\s*\|\s*(\d+) passed\s*\|\s*(\d+) failed")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# Name of the ctest test: why. Nothing where the tests decide (.ci/run).
MAY_SKIP = {} if os.environ.get("CULVERT_CI") else {"e2e_envoy": "Envoy could not be fetched, or is not made for this machine"}


def tests(path):
    """(name, status, output) of each test in the file; status as ctest says it: run, fail, notrun, disabled."""
    if path.endswith(".xml"):
        for test in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
            yield test.get("name"), test.get("status"), test.findtext("system-out") or ""
    else:
        output, _, status = open(path, errors="replace").read().rpartition("exit status ")
        yield os.path.basename(path), {"0": "run", "77": "notrun"}.get(status.strip(), "fail"), output


def count(name, status, output):
    """(passed, failed) of one test."""
    if status in ("notrun", "disabled"):
        if name in MAY_SKIP:
            print(f"skipped: {name}: {MAY_SKIP[name]}")
            return 0, 0
        print(f"skipped, which counts as failed: {name}")
        return 0, 1
    output = COLOURS.sub("", output)
    summaries = SUMMARY.findall(output)
    passed = sum(int(ok) for _, ok, _ in summaries)
    failed = sum(int(bad) for _, _, bad in summaries)
    if status == "run" and not output.strip():
        return 0, 0
    if not summaries and "doctest version" not in output:
        passed = int(status == "run")
    if failed == 0 and (status != "run" or passed == 0):
        failed = 1
    if failed:
        print(f"failed: {name}")
    return passed, failed


def main():
    passed = failed = 0
    for path in sys.argv[1:]:
        for test in tests(path):
            ok, bad = count(*test)
            passed, failed = passed + ok, failed + bad
    print(passed, failed)


main()
