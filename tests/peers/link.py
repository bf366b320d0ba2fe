# SPDX-License-Identifier: Apache-2.0
# One HTTP/2 connection of Python's h2 in mutual TLS 1.3, to which frames can be added that h2 would not send.
#
# What is wrong with the other end is printed as "WRONG: ..."; a test reads it.
import socket
import ssl
import struct

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

FIRST_BYTES = 0xF0C7  # docs/ARCHITECTURE.md, First bytes
FIRST_WINDOW = 65535

# RFC 9113 section 6.
HEADERS, PRIORITY_FRAME, SETTINGS, GOAWAY, CONTINUATION = 1, 2, 4, 7, 9
END_STREAM, END_HEADERS, PRIORITY = 0x1, 0x4, 0x20


def complain(*words):
    print("WRONG:", *words, flush=True)


def context(server, papers):
    """papers: the chain, the key and the root, as files."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.set_alpn_protocols(["h2"])
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_cert_chain(papers[0], papers[1])
    made.load_verify_locations(papers[2])
    return made


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def odd_settings(values):
    """Ones that h2 does not know: it would send their lower byte."""
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", code, value) for code, value in values.items()))


class Link:
    def __init__(self, sock, client, settings=None, connection_window=FIRST_WINDOW):
        self.sock = sock
        self.over = False
        # CONNECT has neither scheme nor path, which h2 would miss.
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=client, header_encoding="utf-8", validate_inbound_headers=False,
            validate_outbound_headers=False))
        self.h2.local_settings = h2.settings.Settings(client=client, initial_values=settings or {})
        self.h2.max_inbound_frame_size = self.h2.local_settings.max_frame_size
        self.h2.initiate_connection()
        if connection_window > FIRST_WINDOW:
            self.h2.increment_flow_control_window(connection_window - FIRST_WINDOW)
        self.flush()

    def flush(self):
        waiting = self.h2.data_to_send()
        if waiting and not self.over:
            self.sock.sendall(waiting)

    def raw(self, *frames):
        self.flush()
        self.sock.sendall(b"".join(frames))

    def events(self, patience=0.05):
        """What came; nothing after `patience` of silence, or when it is over."""
        self.flush()
        self.sock.settimeout(patience)
        try:
            came = self.sock.recv(65536)
        except TimeoutError:
            return []
        except OSError as failure:
            self.over = str(failure)
            return []
        finally:
            self.sock.settimeout(20)
        if not came:
            self.over = "end"
            return []
        try:
            events = self.h2.receive_data(came)
        except h2.exceptions.ProtocolError as failure:
            complain(type(failure).__name__, failure)
            self.over = "protocol error"
            return []
        for event in events:
            if isinstance(event, h2.events.ConnectionTerminated):
                print("GOAWAY", int(event.error_code), (event.additional_data or b"").decode(errors="replace"), flush=True)
        self.flush()
        return events

    def open_window(self, stream, by):
        """Of the connection, too. Nothing for a stream that has ended."""
        if by == 0:
            return
        self.h2.increment_flow_control_window(by)
        if stream:
            try:
                self.h2.increment_flow_control_window(by, stream)
            except h2.exceptions.StreamClosedError:
                pass

    def may_send(self, stream):
        try:
            return self.h2.local_flow_control_window(stream)
        except h2.exceptions.StreamClosedError:
            return 0

    def headers(self, stream, fields, end=False, pieces=1, priority=b""):
        """h2's own header block, cut into so many frames."""
        self.flush()
        self.h2.send_headers(stream, fields, end_stream=end)
        whole = self.h2.data_to_send()
        flags, block = whole[4] & END_STREAM, whole[9:]
        size = -(-len(block) // pieces)
        parts = [block[i:i + size] for i in range(0, len(block), size)]
        ends = [END_HEADERS if i == len(parts) - 1 else 0 for i in range(len(parts))]
        self.raw(frame(HEADERS, flags | ends[0] | (PRIORITY if priority else 0), stream, priority + parts[0]),
                 *(frame(CONTINUATION, end, stream, part) for end, part in zip(ends[1:], parts[1:])))

    def close(self, notify=True):
        try:
            if notify:
                self.sock.unwrap()
            else:
                self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
