# SPDX-License-Identifier: Apache-2.0
# The generator as the bench starts it: how long it is waited for, and what is said when it fails.
import os
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "scripts", "lib"))

from bench import apps, system


class Generator(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.program = os.path.join(directory.name, "generator")

    def generate(self, script, *arguments):
        with open(self.program, "w") as file:
            file.write("#!/bin/sh\n" + script)
        os.chmod(self.program, 0o755)
        return apps.generate(self.program, list(arguments), None, None, [1])

    def test_it_has_its_own_time_and_some_patience(self):
        script = "sleep 0.6; echo '{\"ops\": 3}'"
        with mock.patch.object(apps, "PATIENCE", 0.1):
            self.assertEqual(self.generate(script, "rr", "--seconds", "5"), {"ops": 3})
            with self.assertRaises(system.Trouble):
                self.generate(script.replace("sleep 0.6", "exec sleep 10"), "rr", "--seconds", "0.1")

    def test_its_words_are_told_when_it_fails(self):
        with self.assertRaisesRegex(system.Trouble, "culvert_load rr: nobody there"):
            self.generate("echo nobody there >&2; exit 1", "rr")
        with self.assertRaisesRegex(system.Trouble, "no JSON"):
            self.generate("echo hello", "rr")


if __name__ == "__main__":
    unittest.main()
