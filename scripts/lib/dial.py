#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# dial.py ADDRESS PORT [MARK [SECRET]]: one request of an app of its own mind, with MARK on its socket from the start.
# Prints what became of it: the connect's error by its name, or the status of the answer; and after how many milliseconds.
import errno
import socket
import sys
import time

address, port = sys.argv[1], int(sys.argv[2])
mark, secret = int((sys.argv[3:] or ["0"])[0], 0), (sys.argv[4:] or [""])[0]

app = socket.socket()
app.settimeout(5)
if mark:
    app.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
began = time.monotonic()
try:
    app.connect((address, port))
    app.sendall(f"GET /ip HTTP/1.1\r\nHost: {address}\r\nX-Secret: {secret}\r\nConnection: close\r\n\r\n".encode())
    answer = app.recv(4096).split(b" ")
    outcome = answer[1].decode() if len(answer) > 1 else "ended without an answer"
except TimeoutError:
    outcome = "no answer"
except OSError as error:
    outcome = errno.errorcode.get(error.errno, str(error))
print(f"{outcome} after {1000 * (time.monotonic() - began):.1f} ms")
