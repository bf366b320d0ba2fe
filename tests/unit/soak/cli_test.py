# SPDX-License-Identifier: Apache-2.0
# The command line: what cannot end well is refused at once, and a verdict is printed whatever becomes of its file.
import contextlib
import io
import os
import shutil
import sys
import tempfile
import types
import unittest
from unittest import mock

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "scripts")
sys.path.insert(0, os.path.join(SCRIPTS, "lib"))

from bench import system
from soak import cli, judge, run

PROGRAMS = ["--culvertd", "/bin/true", "--generator", "/bin/true"]


def call(*words):
    out, err = io.StringIO(), io.StringIO()
    with mock.patch.object(run, "run", lambda scripts, options: {"flat": True}), mock.patch("os.geteuid", lambda: 0), \
            mock.patch.object(judge, "show", lambda result: print("flat")), mock.patch("signal.signal"), \
            contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main(SCRIPTS, [*words, *PROGRAMS])
    return status, out.getvalue(), err.getvalue()


class CommandLine(unittest.TestCase):
    def test_what_cannot_end_well_is_refused_at_once(self):
        for words, complaint in ((["nan"], "SECONDS"), (["inf"], "SECONDS"), (["9"], "SECONDS"), ([], "SECONDS"),
                                 (["60", "--json", "/"], "written"), (["60", "--json", "/nowhere/x.json"], "written")):
            with self.subTest(words):
                status, out, complaints = call(*words)
                self.assertEqual((status, out), (2, ""))
                self.assertIn(complaint, complaints)

    def test_the_verdict_is_printed_although_the_file_cannot_be_written(self):
        with tempfile.TemporaryDirectory() as directory:
            os.symlink("/dev/full", os.path.join(directory, "full.json"))
            status, out, complaints = call("60", "--json", os.path.join(directory, "full.json"))
        self.assertEqual((status, out), (2, "flat\n"))
        self.assertIn("No space left", complaints)

    def test_a_soak_that_cannot_end_keeps_the_logs_and_says_what_happened(self):
        with tempfile.TemporaryDirectory() as directory:
            soak = run.Soak(SCRIPTS, types.SimpleNamespace(json=os.path.join(directory, "x.json"), culvertd="", capture="ebpf",
                                                           generator="", seconds=60))
            soak._lab.run_directory = os.path.join(directory, "run")
            os.mkdir(soak._lab.run_directory)
            with open(soak._lab.path("n1.log"), "w") as file:
                file.write("its last words\n")
            soak.down = lambda: shutil.rmtree(soak._lab.run_directory)
            with mock.patch.object(run, "Soak", lambda scripts, options: soak), \
                    mock.patch.object(run.mesh, "remove_leftovers"), contextlib.redirect_stderr(io.StringIO()), \
                    mock.patch.object(soak, "_up", side_effect=system.Trouble("culvertd of node 1 has ended")):
                with self.assertRaisesRegex(system.Trouble, "node 1 has ended"):
                    run.run(SCRIPTS, None)
            self.assertFalse(os.path.exists(soak._lab.run_directory))
            with open(os.path.join(directory, "x.json.logs", "n1.log")) as file:
                self.assertEqual(file.read(), "its last words\n")


if __name__ == "__main__":
    unittest.main()
