# SPDX-License-Identifier: Apache-2.0
# frame_counter.py server CHAIN KEY ROOT [PAUSE] | client ADDRESS AUTHORITY CHAIN KEY ROOT [PAUSE]: a peer that takes what
# one stream brings and keeps the account that Rust's h2 keeps of small DATA frames since 0.4.16. With ztunnel's windows.
# It stops reading for PAUSE seconds after the first bytes. Its last words are the account, as JSON.
import json
import socket
import sys
import time

import h2.events
from h2.settings import SettingCodes

import link

SMALL = 256  # a smaller frame costs what it lacks, until its bytes have been taken; a larger one gives it back
EMPTY = 100  # frames without bytes and without an end, in a connection's life
OLD_BUDGET = 25_600       # h2 0.4.16 to 0.4.18
NEW_BUDGET = 8 << 20      # later: half of the connection's window, here ztunnel's
ZTUNNEL = {SettingCodes.ENABLE_PUSH: 0, SettingCodes.INITIAL_WINDOW_SIZE: 4 << 20, SettingCodes.MAX_FRAME_SIZE: 1 << 20}


class Account:
    """`drained`: whether an app takes what has come whenever there is nothing more to read."""
    def __init__(self, budget, drained):
        self.budget = self.left = self.lowest = budget
        self.drained = drained
        self.held = 0

    def frame(self, size):
        if size >= SMALL:
            self.left = min(self.budget, self.left + size - SMALL)
        elif size > 0:
            self.left -= SMALL - size
            self.held += SMALL - size
            self.lowest = min(self.lowest, self.left)

    def quiet(self):
        if self.drained:
            self.left = min(self.budget, self.left + self.held)
            self.held = 0


class Counter:
    def __init__(self, sock, client, pause):
        self.peer = link.Link(sock, client, ZTUNNEL, 16 << 20)
        self.pause = pause
        self.unread = bytearray()
        self.preface = 0 if client else 24  # what a client's frames begin behind
        self.seen = {"bytes": 0, "frames": 0, "small": 0, "empty": 0, "smallest": 1 << 30}
        self.accounts = {"old": Account(OLD_BUDGET, True), "new": Account(NEW_BUDGET, True),
                         "old_held": Account(OLD_BUDGET, False), "new_held": Account(NEW_BUDGET, False)}
        self.ended = False

    def run(self):
        sock = self.peer.sock
        deadline = time.monotonic() + 60
        while not self.ended and time.monotonic() < deadline:
            sock.settimeout(0)
            try:
                came = sock.recv(65536)
            except OSError:  # nothing there
                for account in self.accounts.values():
                    account.quiet()
                sock.settimeout(0.2)
                try:
                    came = sock.recv(65536)
                except TimeoutError:
                    continue
            sock.settimeout(20)
            if not came:
                break
            self.unread += came
            self.frames()
            if self.pause and self.seen["bytes"]:
                time.sleep(self.pause)
                self.pause = 0
        self.seen["ended"] = int(self.ended)
        self.seen.update({name + "_lowest": account.lowest for name, account in self.accounts.items()})
        print(json.dumps(self.seen), flush=True)

    def frames(self):
        at = 0
        if self.preface:
            if len(self.unread) < self.preface:
                return
            self.other(bytes(self.unread[:self.preface]))
            at, self.preface = self.preface, 0
        while len(self.unread) - at >= 9:
            size = int.from_bytes(self.unread[at:at + 3], "big")
            if len(self.unread) - at < 9 + size:
                break
            kind, flags = self.unread[at + 3], self.unread[at + 4]
            if kind == 0:
                self.data(size, flags & link.END_STREAM)
            else:
                self.other(bytes(self.unread[at:at + 9 + size]))
            at += 9 + size
        del self.unread[:at]

    def data(self, size, end):
        self.seen["bytes"] += size
        self.ended = self.ended or bool(end)
        if end:
            return  # not counted there either
        self.seen["frames"] += 1
        self.seen["small"] += 0 < size < SMALL
        self.seen["empty"] += size == 0
        self.seen["smallest"] = min(self.seen["smallest"], size)
        for account in self.accounts.values():
            account.frame(size)

    def other(self, frame):
        for event in self.peer.h2.receive_data(frame):
            if isinstance(event, h2.events.RequestReceived):
                self.peer.h2.send_headers(event.stream_id, [(":status", "200")])
            elif isinstance(event, h2.events.StreamReset):
                self.ended = True
                link.complain("the stream was reset with", int(event.error_code))
        self.peer.flush()


def main():
    role, rest = sys.argv[1], sys.argv[2:]
    papers = rest[:3] if role == "server" else rest[2:5]
    pause = float(rest[3] if role == "server" and len(rest) > 3 else rest[5] if len(rest) > 5 else 0)
    context = link.context(role == "server", papers)
    if role == "server":
        listener = socket.create_server(("::", 15008), family=socket.AF_INET6, dualstack_ipv6=True)
        print("ready", flush=True)
        sock, _ = listener.accept()
        Counter(context.wrap_socket(sock, server_side=True), False, pause).run()
    else:
        sock = socket.create_connection((rest[0], 15008), 10)
        counter = Counter(context.wrap_socket(sock), True, pause)
        counter.peer.h2.send_headers(1, [(":method", "CONNECT"), (":authority", rest[1])])
        counter.peer.flush()
        counter.run()


main()
