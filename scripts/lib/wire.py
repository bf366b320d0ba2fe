#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# wire.py CAPTURE [TEXT...]: what a tcpdump file of the wire between two nodes holds, as name=value lines.
#
# Puts every TCP stream on port 15008 together and walks it as TLS records, so "nothing but TLS" is said of every byte and
# not only of the packets that happen to start with one. TEXT is looked for in the raw packets and in the streams.
import collections
import struct
import sys

TUNNEL_PORT = 15008
RECORDS = {20: "change_cipher", 21: "alert", 22: "handshake", 23: "data"}


def packets(path):
    with open(path, "rb") as file:
        head = file.read(24)
        order = "<" if head[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
        while len(header := file.read(16)) == 16:
            length = struct.unpack(order + "IIII", header)[2]
            frame = file.read(length)
            if len(frame) == length:
                yield frame


def dissect(frame):
    """(kind, source, destination, sequence, syn, payload) of an Ethernet frame; kind is tcp, neighbour or other."""
    ethertype = struct.unpack("!H", frame[12:14])[0]
    packet = frame[14:]
    if ethertype == 0x0806:
        return "neighbour", None, None, 0, False, b""
    if ethertype == 0x0800:
        start, end = (packet[0] & 15) * 4, struct.unpack("!H", packet[2:4])[0]
        protocol, source, destination = packet[9], packet[12:16], packet[16:20]
    elif ethertype == 0x86DD:
        start, end = 40, 40 + struct.unpack("!H", packet[4:6])[0]
        protocol, source, destination = packet[6], packet[8:24], packet[24:40]
        if protocol == 0:  # hop-by-hop, which multicast listener reports carry
            protocol, start = packet[40], start + 8 * (packet[41] + 1)
        if protocol == 58 and 130 <= packet[start] <= 143:
            return "neighbour", None, None, 0, False, b""
    else:
        return "other", None, None, 0, False, b""
    if protocol != 6:
        return "other", None, None, 0, False, b""
    segment = packet[start:end]
    ports = struct.unpack("!HH", segment[:4])
    sequence, offset, flags = struct.unpack("!I", segment[4:8])[0], (segment[12] >> 4) * 4, segment[13]
    return "tcp", (source, ports[0]), (destination, ports[1]), sequence, bool(flags & 2), segment[offset:]


def joined(segments, first):
    """The bytes from the stream's first on, as far as they are without a gap."""
    stream = bytearray()
    for at, payload in sorted(((sequence - first) & 0xFFFFFFFF, data) for sequence, data in segments):
        if at > len(stream):
            break
        stream[at:at + len(payload)] = payload
    return bytes(stream)


def walk(stream, counts):
    """Counts the records; returns how many bytes at the end are no record, a cut last one aside."""
    at = 0
    while at + 5 <= len(stream):
        kind, version, length = struct.unpack("!BHH", stream[at:at + 5])
        if kind not in RECORDS or version not in (0x0301, 0x0303) or length > 16384 + 256:
            return len(stream) - at
        counts[RECORDS[kind]] += 1
        at += 5 + length
    return 0


def main():
    path, texts = sys.argv[1], [text.encode() for text in sys.argv[2:]]
    seen, records, found = collections.Counter(), collections.Counter(), set()
    streams, first = collections.defaultdict(list), {}
    for frame in packets(path):
        kind, source, destination, sequence, syn, payload = dissect(frame)
        found.update(text for text in texts if text in frame)
        if kind == "tcp":
            kind = "tunnel" if TUNNEL_PORT in (source[1], destination[1]) else "other_tcp"
        seen[kind] += 1
        if kind == "tunnel" and syn:
            first[source, destination] = (sequence + 1) & 0xFFFFFFFF
        elif kind == "tunnel" and payload:
            streams[source, destination].append((sequence, payload))
    outside = 0
    for ends, segments in streams.items():
        stream = joined(segments, first.get(ends, segments[0][0]))
        outside += walk(stream, records)
        found.update(text for text in texts if text in stream)
    for kind in ("tunnel", "other_tcp", "neighbour", "other"):
        print(f"{kind}={seen[kind]}")
    print(f"connections={len({frozenset(ends) for ends in streams})}")
    for name in RECORDS.values():
        print(f"{name}={records[name]}")
    print(f"outside={outside}")
    print(f"found={','.join(sorted(text.decode() for text in found))}")


main()
