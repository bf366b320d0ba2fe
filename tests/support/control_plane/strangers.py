# SPDX-License-Identifier: Apache-2.0
"""What may listen where istiod should, and is none."""
import socket
import ssl
import tempfile
import threading


class Stranger:
    """`kind`: "http", an HTTP/1.1 server behind TLS; "silence", takes connections and says nothing; "noise"."""

    def __init__(self, kind, host, port, own, say):
        self.kind, self.say = kind, say
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.listener.bind((host.strip("[]"), port))
        self.listener.listen(16)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.set_alpn_protocols(["h2", "http/1.1"])
        with tempfile.NamedTemporaryFile() as key, tempfile.NamedTemporaryFile() as chain:
            key.write(own[0])
            chain.write(own[1])
            key.flush()
            chain.flush()
            self.context.load_cert_chain(chain.name, key.name)
        self.taken = []
        threading.Thread(target=self._serve, daemon=True).start()
        say("listening", port=port, kind=kind)

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.taken.append(connection)
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        self.say("taken", kind=self.kind)
        try:
            if self.kind == "silence":
                while connection.recv(4096):
                    pass
                return
            with self.context.wrap_socket(connection, server_side=True) as tls:
                self.taken.append(tls)
                tls.recv(4096)
                tls.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n" if self.kind == "http"
                            else bytes(range(256)) * 64)
                while tls.recv(4096):  # closed with bytes unread, it would be a reset
                    pass
        except OSError:
            pass

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.taken:
            try:
                connection.close()
            except OSError:
                pass
