# SPDX-License-Identifier: Apache-2.0
# h2_client.py SCENARIO ADDRESS AUTHORITY CHAIN KEY ROOT: an HBONE client in front of a server that echoes. Ends with
# "right" when every byte came back, and with lines of "WRONG: ..." when not.
import os
import random
import socket
import sys
import time

import h2.events
from h2.settings import SettingCodes

import link

SIZE = 300_000
PRIORITY = b"\0\0\0\0\x10"


class Client:
    """Plain, and what scenarios change."""
    settings = {}
    connection_window = 1 << 20
    streams = 1
    size = SIZE
    patience = 0.05

    def __init__(self, address, authority, papers):
        sock = socket.create_connection((address, 15008), 10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer = link.Link(link.context(False, papers).wrap_socket(sock), True, self.settings, self.connection_window)
        self.authority = authority
        self.random = random.Random(1)
        self.to_send = os.urandom(self.size)
        self.back = {}
        self.sent = {}
        self.open = set()

    # Scenarios replace these.
    def opened(self): pass
    def tick(self): pass
    def fields(self):
        return [(":method", "CONNECT"), (":authority", self.authority), ("forwarded", "for=192.0.2.1"),
                ("x-of-our-own", "1")]
    def ask(self, stream):
        self.peer.h2.send_headers(stream, self.fields())
    def chunk(self):
        return 16384
    def send_piece(self, stream, piece):
        self.peer.h2.send_data(stream, piece)
    def end(self, stream):
        self.peer.h2.end_stream(stream)
    def acknowledge(self, stream, size):
        self.peer.open_window(stream, size)
    def reset(self, stream, code):
        link.complain("stream", stream, "was reset with", code)
        self.open.discard(stream)

    def run(self):
        self.opened()
        for _ in range(self.streams):
            stream = self.peer.h2.get_next_available_stream_id()
            self.ask(stream)
            self.back[stream], self.sent[stream] = bytearray(), None
            self.open.add(stream)
        deadline = time.monotonic() + 20
        while self.open and not self.peer.over:
            if time.monotonic() > deadline:
                return link.complain("not done in 20 s:", {s: (self.sent[s], len(self.back[s])) for s in self.open})
            for event in self.peer.events(self.patience):
                self.take(event)
            for stream in list(self.open):
                self.send(stream)
            self.tick()
        if self.open:
            link.complain("the connection ended:", self.peer.over)
        self.judge()
        self.peer.close()

    def judge(self):
        for stream, back in self.back.items():
            if back != self.to_send:
                link.complain("stream", stream, "brought", len(back), "of", len(self.to_send), "bytes, or wrong ones")

    def take(self, event):
        stream = getattr(event, "stream_id", 0)
        if isinstance(event, h2.events.ResponseReceived):
            if dict(event.headers).get(":status") != "200":
                link.complain("the answer is", event.headers)
            self.sent[stream] = 0
        elif isinstance(event, h2.events.DataReceived):
            self.back[stream] += event.data
            self.acknowledge(stream, event.flow_controlled_length)
        elif isinstance(event, h2.events.StreamEnded):
            self.open.discard(stream)
        elif isinstance(event, h2.events.StreamReset):
            self.reset(stream, int(event.error_code))
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            print("SETTINGS", {int(k): v.new_value for k, v in event.changed_settings.items()}, flush=True)

    def send(self, stream):
        while self.sent[stream] is not None:
            at = self.sent[stream]
            size = min(len(self.to_send) - at, self.chunk(), self.peer.may_send(stream),
                       self.peer.h2.max_outbound_frame_size)
            if at == len(self.to_send):
                self.sent[stream] = None
                self.end(stream)
            elif size <= 0:
                return
            else:
                self.sent[stream] += size
                self.send_piece(stream, self.to_send[at:at + size])


class Hundred(Client):
    streams = 100
    size = 5_000


class TinyWindows(Client):
    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 19}
    connection_window = link.FIRST_WINDOW
    size = 20_000


class Huge(Client):
    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 0x7fffffff, SettingCodes.MAX_FRAME_SIZE: 0xffffff}
    connection_window = 0x7fffffff
    size = 20_000_000
    def acknowledge(self, stream, size): pass
    def chunk(self):
        return 1 << 20


class OddFrames(Client):
    def chunk(self):
        return self.random.choice([1, 2, 3, 7, 255, 256, 1023, 4097, 16383, 16384])
    def send_piece(self, stream, piece):
        self.peer.h2.send_data(stream, piece)
        if len(piece) < 256:
            self.peer.h2.send_data(stream, b"")
    def end(self, stream):
        self.peer.h2.send_data(stream, b"", pad_length=7, end_stream=True)


class Padding(Client):
    def chunk(self):
        return self.random.choice([1, 1000, 16000])
    def send_piece(self, stream, piece):
        room = min(self.peer.may_send(stream), self.peer.h2.max_outbound_frame_size) - len(piece) - 1
        pad = self.random.choice([0, 1, 100, 255])
        self.peer.h2.send_data(stream, piece, pad_length=pad if room >= pad else None)


class Priority(Client):
    def opened(self):
        self.peer.raw(*(link.frame(link.PRIORITY_FRAME, 0, n, PRIORITY) for n in (3, 5, 7, 101)))
    def ask(self, stream):
        self.peer.headers(stream, self.fields(), priority=b"\x80\0\0\0\xff")
        self.peer.raw(link.frame(link.PRIORITY_FRAME, 0, stream, PRIORITY))


class Continuation(Client):
    def fields(self):
        return super().fields() + [("baggage", "k8s.namespace.name=" + "y" * 3000)]
    def ask(self, stream):
        self.peer.headers(stream, self.fields(), pieces=6)


class UnknownFrames(Client):
    def odd(self, stream):
        self.peer.raw(link.frame(0xfe, 0xff, 0, b"nobody knows"), link.frame(0x4b, 0x55, stream),
                      link.frame(0x0c, 0, stream, bytes(1000)))
    def opened(self):
        self.peer.raw(link.odd_settings({0x4a4a: 12345, 0xfff1: 0}))
        self.odd(1)
    def ask(self, stream):
        super().ask(stream)
        self.odd(stream)
    def send_piece(self, stream, piece):
        self.odd(stream)
        super().send_piece(stream, piece)
    def end(self, stream):
        super().end(stream)
        self.odd(stream)


class Trailers(Client):
    def end(self, stream):
        self.peer.h2.send_headers(stream, [("grpc-status", "0"), ("x-checksum", "cafe")], end_stream=True)


class FirstBytes(Client):
    """DATA with the CONNECT, as our own clients send it."""
    size = 10_000
    def ask(self, stream):
        super().ask(stream)
        self.peer.h2.send_data(stream, self.to_send, end_stream=True)
    def send(self, stream): pass


class ChangingSettings(Client):
    size = 2_000_000
    turn = 0
    def tick(self):
        self.turn += 1
        if self.turn % 3 == 0:
            self.peer.h2.update_settings({
                SettingCodes.INITIAL_WINDOW_SIZE: self.random.choice([30_000, 65_535, 200_000, 1 << 20]),
                SettingCodes.MAX_FRAME_SIZE: self.random.choice([16_384, 20_000, 1 << 20]),
                SettingCodes.HEADER_TABLE_SIZE: self.random.choice([0, 128, 4096, 65536])})


class ShrinkingWindow(Client):
    """As that of the servers: the window is negative for a while."""
    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 60_000}
    unread, shrunk = 0, False
    def acknowledge(self, stream, size):
        if self.shrunk:
            return self.peer.open_window(stream, size)
        self.unread += size
        if self.unread >= 40_000:
            self.shrunk = True
            self.peer.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 5_000})
    def tick(self):
        if self.shrunk and self.unread > 0:
            step = min(self.unread, 9_000)
            self.unread -= step
            self.peer.open_window(1, step)


class SlowReader(Client):
    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 8192}
    connection_window = link.FIRST_WINDOW
    patience = 0.005
    owed = 0
    def acknowledge(self, stream, size):
        self.owed += size
    def tick(self):
        step = min(self.owed, 1500)
        if step and self.open:
            self.owed -= step
            self.peer.open_window(1, step)


class Goaway(Client):
    """A client that says goodbye first: its streams go on."""
    streams = 3
    said = False
    def tick(self):
        if not self.said and any(self.back.values()):
            self.said = True
            self.peer.raw(link.frame(link.GOAWAY, 0, 0, bytes(8)))


class Pings(Client):
    def send_piece(self, stream, piece):
        self.peer.h2.ping(b"areyouok")
        super().send_piece(stream, piece)
    pongs = 0
    def take(self, event):
        self.pongs += isinstance(event, h2.events.PingAckReceived)
        super().take(event)
    def judge(self):
        super().judge()
        if not self.pongs:
            link.complain("no PING was answered")


class Resets(Client):
    """One stream for each code, reset in the middle; one more beside them, to its end."""
    streams = 16
    def send_piece(self, stream, piece):
        super().send_piece(stream, piece)
        if stream > 1 and self.sent[stream] > 5_000 * stream:
            self.peer.h2.reset_stream(stream, stream // 2 - 1)
            self.sent[stream] = None
            self.open.discard(stream)
    def send(self, stream):
        if stream in self.open:
            super().send(stream)
    def judge(self):
        if self.back[1] != self.to_send:
            link.complain("the stream beside them brought", len(self.back[1]))


def main():
    kind = globals()["".join(word.capitalize() for word in sys.argv[1].split("-"))]
    kind(sys.argv[2], sys.argv[3], sys.argv[4:7]).run()
    print("right, unless it says otherwise above", flush=True)


main()
