#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# peer_culvert.py start|stop FILE: culvertd as somebody else's proxy (peers.py has the rules): an example to begin with, and
# the proof that the rules suffice, for its row must look like the row of the same capture.
#
#   scripts/bench --peer again=scripts/lib/bench/peer_culvert.py
#
# CULVERTD=PATH names the binary (the image's when it is there, else build/release/bin/culvertd), CAPTURE=ebpf|iptables the
# capture.
import json
import os
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
IMAGE, NATIVE = (os.path.join(ROOT, "build", path) for path in ("image/culvertd", "release/bin/culvertd"))
CULVERTD = os.environ.get("CULVERTD") or (IMAGE if os.path.exists(IMAGE) else NATIVE)
CAPTURE = os.environ.get("CAPTURE", "ebpf")


def main(verb, path):
    with open(path) as file:
        lab = json.load(file)
    if verb == "start":
        pids = [start(lab, node) for node in lab["nodes"]]
        for node, pid in zip(lab["nodes"], pids):
            wait_until_ready(lab, node, pid)
        print(json.dumps({"pids": pids, "stop": [os.path.abspath(__file__), "stop", path]}))
    else:
        stop(lab)


def start(lab, node):
    config = os.path.join(lab["run_directory"], node["name"] + ".yaml")
    with open(config, "w") as file:
        json.dump(configuration(lab, node), file)  # JSON is YAML
    with open(config + ".log", "ab") as log:
        process = subprocess.Popen(
            ["nsenter", "--net=" + node["netns"], "--", "taskset", "-c", str(node["core"]), CULVERTD, "--config", config],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    with open(config + ".pid", "w") as file:
        file.write(str(process.pid))
    return process.pid


def configuration(lab, node):
    directory = lab["run_directory"]
    return {
        "node": {"name": node["name"], "clusterId": "Kubernetes", "trustDomain": lab["trust_domain"]},
        "capture": CAPTURE,
        "ca": {"directory": os.path.join(directory, "ca")},
        "log": {"access": os.path.join(directory, node["name"] + ".access.log")},
        "workers": 1,
        "pods": [{"uid": pod["uid"], "name": pod["name"], "namespace": pod["namespace"],
                  "serviceAccount": pod["service_account"], "netns": pod["netns"]}
                 for pod in lab["pods"] if pod["node"] == node["name"]],
        "workloads": lab["workloads"],
        "services": lab["services"],
    }


def wait_until_ready(lab, node, pid):
    config = os.path.join(lab["run_directory"], node["name"] + ".yaml")
    ask = ["nsenter", "--net=" + node["netns"], "--", "curl", "-sf", "-o", "/dev/null", "-m", "2",
           "http://127.0.0.1:15021/healthz/ready"]
    until = time.monotonic() + 20
    while subprocess.run(ask, stderr=subprocess.DEVNULL).returncode != 0:
        if ended(pid) or time.monotonic() > until:
            with open(config + ".log", errors="replace") as log:
                sys.exit(f"culvertd of {node['name']} is not ready: {log.read().strip()[-400:]}")
        time.sleep(0.05)


def stop(lab):
    pids = []
    for node in lab["nodes"]:
        with open(os.path.join(lab["run_directory"], node["name"] + ".yaml.pid")) as file:
            pids.append(int(file.read()))
        if not ended(pids[-1]):
            os.kill(pids[-1], signal.SIGTERM)
    until = time.monotonic() + 10
    while not all(ended(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.02)
    for node in lab["nodes"]:
        subprocess.run([CULVERTD, "cleanup", node["name"]], stdout=subprocess.DEVNULL, check=True)


def ended(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


if len(sys.argv) != 3 or sys.argv[1] not in ("start", "stop"):
    sys.exit("usage: peer_culvert.py start|stop FILE")
main(*sys.argv[1:])
