# SPDX-License-Identifier: Apache-2.0
# h2_server.py SCENARIO CHAIN KEY ROOT: an HBONE server that ends each CONNECT in an echo of its own, and does what the
# scenario says that others do not. Says "ready" when it listens; on SIGTERM what it has seen, as JSON.
import json
import signal
import socket
import sys
import threading

import h2.events

import link
import scenarios


class Stream:
    def __init__(self, number, authority):
        self.number = number
        self.authority = authority
        self.port = int(authority.rpartition(":")[2])
        self.answered = False
        self.came = 0
        self.queue = bytearray()  # to be sent back
        self.ended = False        # the other side has
        self.done = False         # so have we


def serve(sock, scenario):
    peer = link.Link(sock, False, scenario.settings, scenario.connection_window)
    streams = {}
    scenario.opened(peer)
    while not peer.over and not scenario.finished(peer, streams):
        for event in peer.events(scenario.patience):
            take(peer, scenario, streams, event)
        scenario.tick(peer, streams)
        for stream in list(streams.values()):
            if stream.answered and not stream.done:
                scenario.send(peer, stream)
        peer.flush()
    scenario.closed(peer)
    peer.close(scenario.notify)


def take(peer, scenario, streams, event):
    if isinstance(event, h2.events.RequestReceived):
        fields = dict(event.headers)
        if fields.get(":method") != "CONNECT" or ":path" in fields or ":scheme" in fields or ":protocol" in fields:
            link.complain("a request that is no plain CONNECT:", fields)
        seen["requests"].append(fields)
        stream = streams[event.stream_id] = Stream(event.stream_id, fields[":authority"])
        scenario.asked(peer, stream)
    elif isinstance(event, h2.events.DataReceived):
        stream = streams[event.stream_id]
        seen["data_frames"] += 1
        seen["bytes"] += len(event.data)
        seen["largest_frame"] = max(seen["largest_frame"], event.flow_controlled_length)
        if not stream.answered:
            seen["before_answer"] += 1
            if not scenario.takes_first_bytes:
                link.complain("DATA before the answer, which was not asked for")
        scenario.data(peer, stream, event)
    elif isinstance(event, h2.events.StreamEnded):
        streams[event.stream_id].ended = True
    elif isinstance(event, h2.events.StreamReset):
        seen["resets"].append(int(event.error_code))
        if event.stream_id in streams:
            streams[event.stream_id].done = True
    elif isinstance(event, h2.events.PingAckReceived):
        seen["pongs"] += 1
    elif isinstance(event, h2.events.RemoteSettingsChanged):
        if any(int(code) == link.FIRST_BYTES for code in event.changed_settings):
            link.complain("a client says that it takes first bytes")


seen = {"connections": 0, "requests": [], "data_frames": 0, "bytes": 0, "largest_frame": 0, "before_answer": 0,
        "resets": [], "pongs": 0}


def report(*_):
    print(json.dumps(seen), flush=True)
    sys.exit(0)


def guest(sock, context, number, kind):
    try:
        serve(context.wrap_socket(sock, server_side=True), kind(number))
    except OSError as failure:  # the other end may go whenever it likes
        print("connection:", failure, flush=True)


def main():
    kind = scenarios.named(sys.argv[1])
    context = link.context(True, sys.argv[2:5])
    listener = socket.create_server(("::", 15008), family=socket.AF_INET6, dualstack_ipv6=True, backlog=256)
    signal.signal(signal.SIGTERM, report)
    print("ready", flush=True)
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        seen["connections"] += 1
        threading.Thread(target=guest, args=(sock, context, seen["connections"], kind), daemon=True).start()


main()
