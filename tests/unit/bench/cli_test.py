# SPDX-License-Identifier: Apache-2.0
# The command line: what cannot end well is refused before anything is built or measured.
import contextlib
import io
import os
import sys
import tempfile
import unittest
from unittest import mock

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "scripts")
sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.join(SCRIPTS, "lib")]

import made_up
from bench import cli, run


def call(*words):
    """(status, what it printed, what it complained about) of a bench whose measuring takes no time."""
    out, err = io.StringIO(), io.StringIO()
    with mock.patch.object(run, "run", lambda scripts, options: made_up.results()), mock.patch("os.geteuid", lambda: 0), \
            mock.patch("signal.signal"), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = cli.main(SCRIPTS, list(words))
        except SystemExit as ended:
            status = ended.code
    return status, out.getvalue(), err.getvalue()


class CommandLine(unittest.TestCase):
    def test_what_cannot_end_well_is_refused_at_once(self):
        for words, complaint in ((["--rows", ""], "no row"), (["--rows", "direct,direct"], "twice"),
                                 (["--rows", "wire"], "no row wire"), (["--columns", "rr99"], "no column rr99"),
                                 (["--peer", "a=/bin/true", "--peer", "a=/bin/false"], "twice"),
                                 (["--seconds", "inf"], "--seconds"), (["--seconds", "nan"], "--seconds"),
                                 (["--rounds", "0"], "--rounds"), (["--culvertd", "/"], "no such program"),
                                 (["--json", "/"], "written"), (["--html", "/nowhere/x.html"], "written")):
            with self.subTest(words):
                status, out, complaints = call(*words)
                self.assertEqual((status, out), (2, ""))
                self.assertIn(complaint, complaints)

    def test_the_table_is_printed_although_the_file_cannot_be_written(self):
        with tempfile.TemporaryDirectory() as directory:
            os.symlink("/dev/full", os.path.join(directory, "full.json"))
            status, out, complaints = call("--json", os.path.join(directory, "full.json"))
        self.assertEqual(status, 2)
        self.assertIn("rr16_cpu_us", out)
        self.assertIn("No space left", complaints)


if __name__ == "__main__":
    unittest.main()
