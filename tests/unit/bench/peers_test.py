# SPDX-License-Identifier: Apache-2.0
# What somebody else's script may say and do, and what is counted of a process.
import gzip
import os
import subprocess
import sys
import tempfile
import time
import types
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "scripts", "lib"))

from bench import lab, machine, measures, peers, system

BURN_IN_A_THREAD = """
import sys, threading, time
def burn():
    while time.thread_time() < 0.2: pass
thread = threading.Thread(target=burn); thread.start(); thread.join()
print("done", flush=True); sys.stdin.read()
"""


class Peers(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.lab = lab.Lab("/nowhere", "bench1x0")
        self.lab.run_directory = directory.name

    def peer(self, script):
        path = self.lab.path("script")
        with open(path, "w") as file:
            file.write("#!/bin/sh\n" + script)
        os.chmod(path, 0o755)
        return peers.Peer(self.lab, path)

    def test_the_last_line_is_the_answer(self):
        self.assertEqual(peers.understood('ready\n{"pids": [7, "8"], "stop": ["x", "y"]}\n'), ([7, 8], ["x", "y"]))
        self.assertEqual(peers.understood('{"pids": [7]}'), ([7], []))

    def test_an_answer_that_cannot_be_used_is_refused(self):
        for answer in ("", "ready", "[1]", "3", '{"pids": []}', '{"pids": [0]}', '{"pids": [7], "stop": "reboot"}',
                       '{"pids": [7], "stop": [7]}', '{"stop": ["x"]}', '{"pids": "x"}', '{"pids": 7}'):
            with self.subTest(answer):
                with self.assertRaisesRegex(system.Trouble, "in its last line"):
                    self.peer(f"cat <<'END'\n{answer}\nEND\n").start(0)

    def test_a_script_that_fails_is_quoted(self):
        with self.assertRaisesRegex(system.Trouble, "no licence"):
            self.peer("echo no licence >&2; exit 3").start(0)

    def test_a_proxy_that_keeps_the_output_open_is_not_waited_for(self):
        peer, began = self.peer('sleep 60 & echo "{\\"pids\\": [$!], \\"stop\\": [\\"kill\\", \\"$!\\"]}"'), time.monotonic()
        peer.start(0)
        self.assertLess(time.monotonic() - began, 30)
        pid = peer.daemon_pids[0]
        peer.stop()
        until = time.monotonic() + 10
        while system.alive(pid) and time.monotonic() < until:
            time.sleep(0.01)
        self.assertFalse(system.alive(pid))

    def test_proxies_that_did_nothing_are_no_row(self):
        row = types.SimpleNamespace(name="peer", proxies=types.SimpleNamespace(daemon_pids=[7]))
        answer = {"cpu_s": 1.0, "busy_s": 1.0, "cpu_by_pid": {"7": 0.0, "self": 1.0}}
        with self.assertRaisesRegex(system.Trouble, "peer: its proxies did nothing for rr16_cpu_us"):
            measures.Sample(row, answer, {"rr16_cpu_us": 1}, {"rr16_cpu_us": 1})


class Kernel(unittest.TestCase):
    def test_interrupts_that_are_booked_apart_are_found_in_the_configuration(self):
        with tempfile.TemporaryDirectory() as directory:
            paths = [os.path.join(directory, name) for name in ("config.gz", "plain")]
            self.assertFalse(machine.books_interrupts_apart(paths))
            for said, apart in ((b"CONFIG_IRQ_TIME_ACCOUNTING=y", True), (b"# CONFIG_IRQ_TIME_ACCOUNTING is not set", False),
                                (b"CONFIG_HAVE_IRQ_TIME_ACCOUNTING=y", False)):
                text = b"CONFIG_NET=y\n" + said + b"\nCONFIG_PCI=y\n"
                for path, content in zip(paths, (gzip.compress(text), text)):
                    with self.subTest(said=said, path=path):
                        with open(path, "wb") as file:
                            file.write(content)
                        self.assertEqual(machine.books_interrupts_apart([path]), apart)


class Processes(unittest.TestCase):
    def test_the_time_of_threads_that_have_ended_counts(self):
        with subprocess.Popen([sys.executable, "-c", BURN_IN_A_THREAD], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            self.assertGreater(system.cpu_seconds(process.pid), 0.2)
            process.stdin.close()

    def test_a_process_that_is_gone_has_no_time(self):
        with subprocess.Popen(["true"]) as process:
            process.wait()
            self.assertEqual(system.cpu_seconds(process.pid), 0)


if __name__ == "__main__":
    unittest.main()
