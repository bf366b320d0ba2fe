#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# istio_cni.py SOCKET [ORDERS] [--probe SECONDS]: stands in for istio-cni's agent. Prepares pods, and tells the node proxy
# that connects to SOCKET of them; line by line it obeys what stands in ORDERS, a fifo or - for standard input.
#
#   add UID NAME NAMESPACE ACCOUNT NETNS [iptables | legacy | nft [no-dns]]
#               enrols a pod; after it has written such rules into it, those for DNS among them or, as with
#               AMBIENT_DNS_CAPTURE=false or the pod's annotation, not
#   keep UID    a pod whose netns the agent does not know: named in snapshots only
#   del UID     takes it out, and its rules
#   raw HEX     says this to the newest connection as it is, without a descriptor, and reads the answer
#   hang up     ends all connections
#   close       nobody listens any more, and all connections end: the agent is restarted. It goes on being told of pods
#   open        it listens again
#
# What happens is printed, a line each:
#
#   connected | hello | gone | WRONG: WHAT
#   add UID: ok | add UID: error TEXT | add UID: no answer | add UID: no connection; the same for keep, del and raw
#   snapshot: ok
#   rules UID: ok
#
# The newest connection hears of adds, all hear of dels. What is idle for --probe seconds (5, as istio-cni's) is looked
# at: a proxy says nothing unasked.
import argparse
import os
import pathlib
import queue
import re
import socket
import subprocess
import sys
import threading

RULES = pathlib.Path(__file__).parent / "istio_cni"
PATIENCE = 5  # for an answer
MARK_RULE = "fwmark 0x111/0xfff pref 32764 lookup 100"


def say(*words):
    print(*words, flush=True)


# Protobuf, as far as it is needed: fields of texts, none longer than 127 bytes but those that hold others.
def varint(number):
    rest = b""
    while number > 127:
        rest += bytes([number & 127 | 128])
        number >>= 7
    return rest + bytes([number])


def field(number, content):
    content = content.encode() if isinstance(content, str) else content
    return bytes([number << 3 | 2]) + varint(len(content)) + content


SNAPSHOT_SENT = field(3, b"")


def without_dns(rules):
    """Of a recording: no redirect to the DNS server's port, and nothing in the raw table."""
    rules = re.sub(r"^\*raw\n.*?^COMMIT\n|^table inet istio-ambient-raw \{\n.*?^\}\n", "", rules, flags=re.M | re.S)
    return "".join(line for line in rules.splitlines(keepends=True) if "15053" not in line)


def ack_error(answer):
    """What a WorkloadResponse says went wrong; None when it is none at all."""
    if answer[:1] != b"\x0a":
        return None
    length, at = 0, 1
    while at < len(answer):
        length |= (answer[at] & 127) << 7 * (at - 1)
        at += 1
        if answer[at - 1] < 128:
            break
    ack = answer[at:]
    if len(ack) != length:
        return None
    if not ack:
        return ""
    start = 2 if ack[1] < 128 else 3
    return ack[start:].decode(errors="replace")


class Pod:
    def __init__(self, uid, name, namespace, account, netns, rules=None, dns="dns"):
        if dns not in ("dns", "no-dns"):
            raise RuntimeError("dns is not " + dns)
        self.uid, self.rules, self.dns = uid, rules, dns == "dns"
        self.netns = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
        info = field(1, name) + field(2, namespace) + field(3, account)
        self.message = field(1, field(1, uid) + field(2, info))

    def run(self, *command, text=None, check=True):
        visit = ["nsenter", f"--net=/proc/self/fd/{self.netns}", *command]
        done = subprocess.run(visit, input=text, text=True, pass_fds=[self.netns], capture_output=True, check=False)
        if check and done.returncode:
            raise RuntimeError(" ".join(command) + ": " + done.stderr.strip())

    def recorded(self, name):
        rules = (RULES / name).read_text()
        return rules if self.dns else without_dns(rules)

    def prepare(self):
        for family in "-4", "-6":
            self.run("ip", family, "route", "replace", "local", "default", "dev", "lo", "table", "100")
            self.run("ip", family, "rule", "add", *MARK_RULE.split())
        if self.rules == "nft":
            self.run("nft", "-f", "-", text=self.recorded("nft"))
            return
        kind = "legacy" if self.rules == "legacy" else "nft"
        for program in "iptables", "ip6tables":
            self.run(f"{program}-{kind}-restore", "--noflush", text=self.recorded(program))

    def clear(self):
        for family in "-4", "-6":
            self.run("ip", family, "rule", "del", *MARK_RULE.split(), check=False)
            self.run("ip", family, "route", "flush", "table", "100", check=False)
        if self.rules == "nft":
            for table in "nat", "mangle", "raw":
                self.run("nft", "delete", "table", "inet", "istio-ambient-" + table, check=False)
            return
        kind = "legacy" if self.rules == "legacy" else "nft"
        for program in "iptables", "ip6tables":
            for table in "nat", "mangle", "raw":
                text = f"*{table}\n"
                for hook, chain in ("PREROUTING", "ISTIO_PRERT"), ("OUTPUT", "ISTIO_OUTPUT"):
                    text += f"-D {hook} -j {chain}\n-F {chain}\n-X {chain}\n"
                self.run(f"{program}-{kind}-restore", "--noflush", text=text + "COMMIT\n", check=False)


class Connection(threading.Thread):
    def __init__(self, agent, sock):
        super().__init__(daemon=True)
        self.agent, self.sock, self.orders = agent, sock, queue.Queue()

    def ask(self, what, message, netns=None):
        """False when the connection is over."""
        try:
            if netns is None:
                self.sock.send(message)
            else:
                socket.send_fds(self.sock, [message], [netns])
            answer = self.sock.recv(1024)
        except TimeoutError:
            say(f"{what}: no answer")
            return False
        except OSError as error:
            say(f"{what}: {error}")
            return False
        if not answer:
            say(f"{what}: connection closed")
            return False
        wrong = ack_error(answer)
        say(f"{what}: " + ("ok" if wrong == "" else "WRONG: no Ack" if wrong is None else "error " + wrong))
        return True

    def told_all(self):
        for uid, pod in self.agent.all_pods():
            known = self.ask(f"keep {uid}", field(5, field(1, uid))) if pod is None else \
                self.ask(f"add {uid}", pod.message, pod.netns)
            if not known:
                return False
        return self.ask("snapshot", SNAPSHOT_SENT)

    def is_quiet(self):
        self.sock.settimeout(0.01)
        try:
            got = self.sock.recv(1024)
        except TimeoutError:
            return True
        except OSError:
            return False
        finally:
            self.sock.settimeout(PATIENCE)
        if got:
            say("WRONG: unasked:", got.hex())
        return False

    def run(self):
        say("connected")
        self.sock.settimeout(PATIENCE)
        try:
            self.serve()
        except OSError:
            pass
        self.agent.forget(self)
        self.sock.close()
        say("gone")

    def serve(self):
        hello = self.sock.recv(1024)
        if hello != b"\x08\x01":
            say("WRONG: hello is", hello.hex())
            return
        say("hello")
        if not self.told_all():
            return
        while True:
            try:
                order = self.orders.get(timeout=self.agent.probe)
            except queue.Empty:
                if not self.is_quiet():
                    return
                continue
            if order is None or not self.ask(*order):
                return


class Agent:
    def __init__(self, path, probe):
        self.probe, self.lock, self.pods, self.connections = probe, threading.Lock(), {}, []
        self.path = pathlib.Path(path)
        self.open()

    def open(self):
        self.path.unlink(missing_ok=True)
        self.door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.door.bind(str(self.path))
        self.door.listen(16)
        threading.Thread(target=self.accept, args=(self.door,), daemon=True).start()

    def close(self):
        self.path.unlink(missing_ok=True)
        self.door.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        self.hang_up()

    def hang_up(self):
        with self.lock:
            for connection in self.connections:
                connection.orders.put(None)

    def accept(self, door):
        while True:
            try:
                connection = Connection(self, door.accept()[0])
            except OSError:
                door.close()
                return
            with self.lock:
                self.connections.append(connection)
            connection.start()

    def forget(self, connection):
        with self.lock:
            if connection in self.connections:
                self.connections.remove(connection)

    def all_pods(self):
        with self.lock:
            return list(self.pods.items())

    def tell(self, what, message, netns=None, everybody=False):
        with self.lock:
            heard = self.connections[:] if everybody else self.connections[-1:]
        for connection in heard:
            connection.orders.put((what, message, netns))
        if not heard:
            say(f"{what}: no connection")

    def add(self, uid, *about):
        pod = Pod(uid, *about)
        if pod.rules:
            pod.prepare()
            say(f"rules {uid}: ok")
        with self.lock:
            self.pods[uid] = pod
        self.tell(f"add {uid}", pod.message, pod.netns)

    def keep(self, uid):
        with self.lock:
            self.pods[uid] = None

    def delete(self, uid):
        with self.lock:
            pod = self.pods.pop(uid, None)
        self.tell(f"del {uid}", field(2, field(2, uid)), everybody=True)
        if pod and pod.rules:
            pod.clear()

    def obey(self, words):
        match words:
            case ["add", uid, *about]: self.add(uid, *about)
            case ["keep", uid]: self.keep(uid)
            case ["del", uid]: self.delete(uid)
            case ["raw", text]: self.tell("raw", bytes.fromhex(text))
            case ["hang", "up"]: self.hang_up()
            case ["close"]: self.close()
            case ["open"]: self.open()
            case []: pass
            case _: say("WRONG: no such order:", *words)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    parser.add_argument("orders", nargs="?", default="-")
    parser.add_argument("--probe", type=float, default=5)
    given = parser.parse_args()
    agent = Agent(given.socket, given.probe)
    say("listening")
    with sys.stdin if given.orders == "-" else open(given.orders, encoding="utf-8") as orders:
        for line in orders:
            try:
                agent.obey(line.split())
            except (OSError, RuntimeError, TypeError) as error:
                say("WRONG:", line.strip() + ":", error)


main()
