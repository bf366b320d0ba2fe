#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# resets.py serve PORT                          accepts, reads a little, resets
# resets.py visit IP4 IP6 ECHO SINK RESET       until SIGTERM: connections that either side resets in mid-flow, and some that
#                                               end well and must bring every byte; then one line of JSON
import json
import os
import signal
import socket
import struct
import sys
import time

PAUSE = 0.02
REST = 20000
PAYLOAD = bytes(range(256)) * 400
CROWD = 50


class Ended(Exception):
    pass


def end(*_):
    raise Ended


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def serve(port):
    listener = socket.create_server(("::", port), family=socket.AF_INET6, backlog=128, dualstack_ipv6=True)
    print("listening", flush=True)
    while True:
        sock, _ = listener.accept()
        sock.settimeout(2)
        try:
            sock.sendall(sock.recv(4096))
        except OSError:
            pass
        reset(sock)


def connect(address, port):
    return socket.create_connection((address, port), timeout=5)


def leave_unread(address, ports, told, sock=None):
    """Much is sent, nothing of the echo read: bytes are everywhere when the reset comes."""
    sock = sock or connect(address, ports["echo"])
    sock.settimeout(0.05)
    try:
        sock.sendall(PAYLOAD)
    except TimeoutError:
        pass
    reset(sock)
    told["ours"] += 1


def leave_in_a_crowd(address, ports, told):
    """So many at once that what is on the way has to wait for room."""
    for sock in [connect(address, ports["echo"]) for _ in range(CROWD)]:
        leave_unread(address, ports, told, sock)


def leave_early(address, ports, told):
    sock = connect(address, ports["sink"])
    sock.sendall(PAYLOAD[:REST])
    reset(sock)
    told["ours"] += 1


def be_left(address, ports, told):
    """Through a mesh an app's reset arrives as an end of stream."""
    sock = connect(address, ports["reset"])
    try:
        sock.sendall(PAYLOAD[:REST])
        while sock.recv(65536):
            pass
    except (ConnectionResetError, BrokenPipeError):
        pass
    sock.close()
    told["theirs"] += 1


def end_well(address, ports, told):
    """Half-closed by us, then by them, and between the two every byte."""
    sock = connect(address, ports["echo"])
    sock.sendall(PAYLOAD[:REST])
    sock.shutdown(socket.SHUT_WR)
    got = b"".join(iter(lambda: sock.recv(65536), b""))
    sock.close()
    if got != PAYLOAD[:REST]:
        raise OSError(f"{len(got)} bytes of {REST} came back, or wrong ones")
    told["well"] += 1


def visit(addresses, ports):
    told = {"ours": 0, "theirs": 0, "well": 0, "wrong": 0, "words": []}
    ways = (leave_unread, leave_early, be_left, end_well) * 25 + (leave_in_a_crowd,) * 2
    number = 0
    try:
        while True:
            way, address = ways[number % len(ways)], addresses[number // 4 % 2]
            try:
                way(address, ports, told)
            except OSError as trouble:
                told["wrong"] += 1
                if len(told["words"]) < 5:
                    told["words"].append(f"{way.__name__} {address}: {trouble!r}")
            number += 1
            time.sleep(PAUSE)
    except Ended:
        print(json.dumps(told), flush=True)


def main(words):
    signal.signal(signal.SIGTERM, end)
    try:
        if words[0] == "serve":
            serve(int(words[1]))
        else:
            visit(words[1:3], dict(zip(("echo", "sink", "reset"), map(int, words[3:6]), strict=True)))
    except Ended:
        os._exit(0)


main(sys.argv[1:])
