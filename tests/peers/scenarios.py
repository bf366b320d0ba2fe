# SPDX-License-Identifier: Apache-2.0
# What a server may do that another server never does: each class one habit.
import random
import time

from h2.settings import SettingCodes

import link


class Echo:
    settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 200}
    connection_window = 1 << 20
    takes_first_bytes = False
    patience = 0.02
    notify = True  # close_notify before FIN

    def __init__(self, number):
        self.number = number  # of this connection, from 1
        self.random = random.Random(number)

    def opened(self, peer): pass
    def tick(self, peer, streams): pass
    def closed(self, peer): pass
    def finished(self, peer, streams): return False

    def asked(self, peer, stream):
        self.answer(peer, stream)

    def answer(self, peer, stream, status="200", end=False):
        peer.h2.send_headers(stream.number, [(":status", status)], end_stream=end)
        stream.answered = True
        stream.done = end

    def data(self, peer, stream, event):
        stream.came += len(event.data)
        stream.queue += event.data
        self.acknowledge(peer, stream, event.flow_controlled_length)

    def acknowledge(self, peer, stream, size):
        peer.open_window(stream.number, size)

    def chunk(self):
        return 16384

    def send(self, peer, stream):
        while stream.queue:
            size = min(len(stream.queue), self.chunk(), peer.may_send(stream.number), peer.h2.max_outbound_frame_size)
            if size <= 0:
                return
            piece = bytes(stream.queue[:size])
            del stream.queue[:size]
            self.send_piece(peer, stream, piece)
        if stream.ended:
            stream.done = True
            self.end(peer, stream)

    def send_piece(self, peer, stream, piece):
        peer.h2.send_data(stream.number, piece)

    def end(self, peer, stream):
        peer.h2.end_stream(stream.number)


class FirstBytes(Echo):
    """Asks for Culvert's own extension: what the others must never see is seen here."""
    takes_first_bytes = True
    def opened(self, peer):
        peer.raw(link.odd_settings({link.FIRST_BYTES: 1}))
    def asked(self, peer, stream):
        stream.due = time.monotonic() + 0.05
    def tick(self, peer, streams):
        for stream in streams.values():
            if not stream.answered and time.monotonic() >= stream.due:
                self.answer(peer, stream)


class SlowAnswer(FirstBytes):
    takes_first_bytes = False
    def opened(self, peer): pass


class TinyWindows(Echo):
    settings = {**Echo.settings, SettingCodes.INITIAL_WINDOW_SIZE: 17}
    connection_window = link.FIRST_WINDOW


class ShutWindow(Echo):
    """Opens it only after a while."""
    settings = {**Echo.settings, SettingCodes.INITIAL_WINDOW_SIZE: 0}
    def tick(self, peer, streams):
        for stream in streams.values():
            if stream.answered and not hasattr(stream, "opened"):
                stream.opened = True
                time.sleep(0.1)
                if stream.came:
                    link.complain("DATA into a window that is shut")
                peer.h2.increment_flow_control_window(100_000, stream.number)


class Huge(Echo):
    settings = {**Echo.settings, SettingCodes.INITIAL_WINDOW_SIZE: 0x7fffffff, SettingCodes.MAX_FRAME_SIZE: 0xffffff}
    connection_window = 0x7fffffff
    def acknowledge(self, peer, stream, size): pass
    def chunk(self):
        return 1 << 20  # as much as we take


class OddFrames(Echo):
    """Of every size, and empty ones between them."""
    def chunk(self):
        return self.random.choice([1, 2, 3, 7, 255, 256, 1023, 4097, 16383, 16384])
    def send_piece(self, peer, stream, piece):
        peer.h2.send_data(stream.number, piece)
        if len(piece) < 256:
            peer.h2.send_data(stream.number, b"")


class Padding(Echo):
    def send_piece(self, peer, stream, piece):
        pad = min(self.random.choice([0, 1, 100, 255]), max(0, peer.may_send(stream.number) - len(piece) - 1),
                  peer.h2.max_outbound_frame_size - len(piece) - 1)
        if pad >= 0 and peer.may_send(stream.number) > len(piece):
            peer.h2.send_data(stream.number, piece, pad_length=pad)
        else:
            peer.h2.send_data(stream.number, piece)
        if peer.may_send(stream.number) > 300:  # a frame of nothing else
            peer.h2.send_data(stream.number, b"", pad_length=255)
    def chunk(self):
        return self.random.choice([1, 1000, 16000])


class Priority(Echo):
    """PRIORITY on streams that are, were and may come, and in HEADERS."""
    def asked(self, peer, stream):
        others = [stream.number, stream.number + 2, stream.number + 100, max(1, stream.number - 2)]
        peer.raw(*(link.frame(link.PRIORITY_FRAME, 0, n, b"\0\0\0\0\x10") for n in others))
        peer.headers(stream.number, [(":status", "200")], priority=b"\x80\0\0\0\xff")
        stream.answered = True


class Continuation(Echo):
    def asked(self, peer, stream):
        fields = [(":status", "200"), ("baggage", "k8s.namespace.name=" + "x" * 3000)]
        peer.headers(stream.number, fields, pieces=6)
        stream.answered = True


class UnknownFrames(Echo):
    """Types, flags and settings that nobody has defined, everywhere that they may be."""
    def odd(self, peer, stream):
        peer.raw(link.frame(0xfe, 0xff, 0, b"nobody knows"), link.frame(0x4b, 0x55, stream, b""),
                 link.frame(0x0c, 0, stream, bytes(1000)))
    def opened(self, peer):
        peer.raw(link.odd_settings({0x4a4a: 12345, 0xfff1: 0}))
        self.odd(peer, 1)
    def asked(self, peer, stream):
        self.odd(peer, stream.number)
        self.answer(peer, stream)
        self.odd(peer, stream.number)
    def send_piece(self, peer, stream, piece):
        self.odd(peer, stream.number)
        peer.h2.send_data(stream.number, piece)
    def end(self, peer, stream):
        self.odd(peer, stream.number)
        peer.h2.end_stream(stream.number)
        self.odd(peer, stream.number)


class Informational(Echo):
    """Three answers before the answer."""
    def asked(self, peer, stream):
        for status in ("100", "103", "199"):
            peer.h2.send_headers(stream.number, [(":status", status), ("link", "</x>; rel=preload")])
        self.answer(peer, stream)


class Trailers(Echo):
    def end(self, peer, stream):
        peer.h2.send_headers(stream.number, [("grpc-status", "0"), ("x-checksum", "cafe")], end_stream=True)


class Pings(Echo):
    def data(self, peer, stream, event):
        peer.h2.ping(b"areyouok")
        super().data(peer, stream, event)


class SlowReader(Echo):
    """Opens the window in small steps, and each only after a while."""
    settings = {**Echo.settings, SettingCodes.INITIAL_WINDOW_SIZE: 8192}
    connection_window = link.FIRST_WINDOW
    patience = 0.005
    owed = 0
    def acknowledge(self, peer, stream, size):
        stream.owed = getattr(stream, "owed", 0) + size
    def tick(self, peer, streams):
        for stream in streams.values():
            step = min(getattr(stream, "owed", 0), 1500)
            if step and not stream.done:
                stream.owed -= step
                peer.open_window(stream.number, step)


class ShrinkingWindow(Echo):
    """Takes back more window than is left, so that it is negative, then gives it again bit by bit."""
    settings = {**Echo.settings, SettingCodes.INITIAL_WINDOW_SIZE: 60_000}
    shrunk = False
    def acknowledge(self, peer, stream, size):
        stream.unread = getattr(stream, "unread", 0) + size
        if not self.shrunk and stream.unread >= 40_000:
            self.shrunk = True
            peer.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 5_000})
    def tick(self, peer, streams):
        for stream in streams.values():
            step = min(getattr(stream, "unread", 0), 9_000)
            if self.shrunk and step:
                stream.unread -= step
                peer.open_window(stream.number, step)


class ChangingSettings(Echo):
    """Everything that SETTINGS can change, while bytes are on their way."""
    turn = 0
    def data(self, peer, stream, event):
        self.turn += 1
        if self.turn % 4 == 0:
            peer.h2.update_settings({
                SettingCodes.INITIAL_WINDOW_SIZE: self.random.choice([30_000, 65_535, 200_000, 1 << 20]),
                SettingCodes.MAX_FRAME_SIZE: self.random.choice([16_384, 20_000, 1 << 20]),
                SettingCodes.HEADER_TABLE_SIZE: self.random.choice([0, 128, 4096, 65536])})
        super().data(peer, stream, event)


class OneStream(Echo):
    settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 1}


class GoawayAtOnce(Echo):
    """Its first connection takes nothing at all."""
    def opened(self, peer):
        if self.number == 1:
            peer.raw(link.frame(link.GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\0"))
    def asked(self, peer, stream):
        if self.number > 1:
            self.answer(peer, stream)


class GoawayInMidStream(Echo):
    """After the first bytes: what is open goes on, the rest goes elsewhere."""
    said = False
    def data(self, peer, stream, event):
        if not self.said:
            self.said = True
            peer.raw(link.frame(link.GOAWAY, 0, 0, self.last.to_bytes(4, "big") + bytes(4)))
        super().data(peer, stream, event)
    def asked(self, peer, stream):
        if not self.said:  # else it is for the other end to ask again elsewhere
            self.last = stream.number
            self.answer(peer, stream)


class Reset(Echo):
    """After the first bytes, with the code that the port says: 9000 is NO_ERROR."""
    def data(self, peer, stream, event):
        super().data(peer, stream, event)
        self.send(peer, stream)
        peer.flush()
        stream.done = True
        peer.h2.reset_stream(stream.number, stream.port - 9000)


class ResetUnanswered(Echo):
    def asked(self, peer, stream):
        stream.done = True
        peer.h2.reset_stream(stream.number, stream.port - 9000)


class Status(Echo):
    """Answers with the port as status."""
    def asked(self, peer, stream):
        self.answer(peer, stream, str(stream.port), end=stream.port != 200)


class EndedAnswer(Echo):
    """200, and nothing behind it."""
    def asked(self, peer, stream):
        self.answer(peer, stream, end=True)


class Abrupt(Echo):
    """FIN in mid-stream, without close_notify."""
    notify = False
    def finished(self, peer, streams):
        return any(stream.came and not stream.queue for stream in streams.values())


class Closing(Abrupt):
    """FIN in mid-stream, with close_notify."""
    notify = True


def named(name):
    return globals()["".join(word.capitalize() for word in name.split("-"))]
