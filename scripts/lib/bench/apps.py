# SPDX-License-Identifier: Apache-2.0
# The apps in the pods: echo and sink servers and nginx in one, the generator and wrk in the others.
import json
import os
import re
import time

from . import system
from .lab import ECHO_PORT, HTTP_PORT, PORTS, SINK_PORT

PATIENCE = 60  # seconds that a run may take beyond its own
NGINX = """
user root; worker_processes 1; daemon off; pid {run}/nginx.pid; error_log {run}/nginx.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;
    client_body_temp_path {run}/nginx.d; proxy_temp_path {run}/nginx.d; fastcgi_temp_path {run}/nginx.d;
    uwsgi_temp_path {run}/nginx.d; scgi_temp_path {run}/nginx.d;
    server {{ listen {port} backlog=4096; listen [::]:{port} backlog=4096;
              location / {{ default_type text/plain; return 200 "hello from the far side of the mesh\\n"; }} }}
}}
"""


class Servers:
    def __init__(self, lab, generator):
        self.lab, self._generator = lab, generator
        self._echo = self._nginx = None

    def start(self, core):
        with open(self.lab.path("servers.log"), "ab") as log:
            self._echo = system.start([self._generator, "serve", "--echo", f"{ECHO_PORT}x{PORTS}",
                                       "--sink", f"{SINK_PORT}x{PORTS}"], netns=self.lab.server.netns, core=core,
                                      stdin=system.subprocess.DEVNULL, stdout=system.subprocess.PIPE, stderr=log)
            os.makedirs(self.lab.path("nginx.d"), exist_ok=True)
            with open(self.lab.path("nginx.conf"), "w") as conf:
                conf.write(NGINX.format(run=self.lab.run_directory, port=HTTP_PORT))
            self._nginx = system.start(["nginx", "-p", self.lab.run_directory, "-c", self.lab.path("nginx.conf"),
                                        "-e", self.lab.path("nginx.log")], netns=self.lab.server.netns, core=core,
                                       stdout=log, stderr=log)
        if self._echo.stdout.readline().strip() != b"ready":
            raise system.Trouble(f"the echo server did not start: {system.last_words(self.lab.path('servers.log'))}")
        self._wait_for_nginx()

    def stop(self):
        system.end(self._echo)
        system.end(self._nginx)

    @property
    def echo_pids(self):
        return [self._echo.pid]

    @property
    def http_pids(self):
        return [self._nginx.pid, *system.children(self._nginx.pid)]

    @property
    def pids(self):
        return self.echo_pids + self.http_pids

    def _wait_for_nginx(self):
        until = time.monotonic() + 10
        while True:
            try:
                system.get(self.lab.server.netns, HTTP_PORT, "/")
                return
            except OSError:
                if self._nginx.poll() is not None or time.monotonic() > until:
                    raise system.Trouble(f"nginx did not start: {system.last_words(self.lab.path('servers.log'))}") from None
                time.sleep(0.02)


def generate(generator, arguments, netns, core, account):
    """One run of the generator: its JSON."""
    process = system.start([generator, *arguments, "--account", ",".join(map(str, account))], netns=netns, core=core,
                           stdout=system.subprocess.PIPE, stderr=system.subprocess.PIPE, text=True)
    asked = float(arguments[arguments.index("--seconds") + 1]) if "--seconds" in arguments else 0
    out, words = _outcome(process, asked + PATIENCE)
    try:
        if process.returncode == 0:
            return json.loads(out.strip().splitlines()[-1])
    except (ValueError, IndexError):
        words = words or "it printed no JSON"
    raise system.Trouble(f"culvert_load {' '.join(map(str, arguments))}: {words.strip() or 'it said nothing'}")


def wrk(url, seconds, connections, netns, core, account):
    """The same in the generator's words: wrk does not account, so we read before and after it."""
    before = {pid: system.cpu_seconds(pid) for pid in account}
    busy = system.busy_seconds()
    process = system.start(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", url], netns=netns, core=core,
                           stdout=system.subprocess.PIPE, stderr=system.subprocess.STDOUT, text=True)
    out = process.stdout.read()
    # Beside the scheduler's own figure there is no other of a process that has ended; the kernel scales the sum to it.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    busy = system.busy_seconds() - busy
    cpu = {str(pid): system.cpu_seconds(pid) - before[pid] for pid in account}
    cpu["self"] = usage.ru_utime + usage.ru_stime
    done = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", out)
    rate = re.search(r"Requests/sec:\s*([\d.]+)", out)
    bad = re.search(r"Socket errors:.*|Non-2xx.*", out)
    if process.returncode != 0 or not done or not rate or bad:
        raise system.Trouble(f"wrk {url}: {bad[0] if bad else out.strip().splitlines()[-1:]}")
    return {"ops": int(done[1]), "rps": float(rate[1]), "cpu_by_pid": cpu, "cpu_s": sum(cpu.values()), "busy_s": busy}


class Held:
    """Connections that are open and idle, until close()."""

    def __init__(self, generator, address, count, netns, core):
        self._process = system.start(
            [generator, "hold", address, str(ECHO_PORT), "--connections", str(count), "--bytes", "64"], netns=netns,
            core=core, stdin=system.subprocess.PIPE, stdout=system.subprocess.PIPE, stderr=system.subprocess.PIPE,
            text=True)
        line = self._process.stdout.readline()
        if not line or json.loads(line).get("held") != count:
            out, words = _outcome(self._process, 5)
            raise system.Trouble(f"culvert_load hold: {words.strip() or line.strip() or out.strip()}")

    def close(self):
        self._process.stdin.close()
        self._process.stdin = None
        _, words = _outcome(self._process, 20)
        if self._process.returncode != 0:
            raise system.Trouble(f"culvert_load hold: {words.strip()}")


def _outcome(process, patience):
    try:
        return process.communicate(timeout=patience)
    except system.subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()
