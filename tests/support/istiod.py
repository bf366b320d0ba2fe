#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Plays istiod for one node proxy or more: its xDS and its CA, on gRPC's own core, over TLS.

    istiod.py --home DIR [--listen 127.0.0.1:0] [--plaintext ADDRESS] [--mesh FILE] [--token TEXT ...] [--name HOST ...]
              [--orders FIFO]

DIR gets the root (root-cert.pem). FILE is {"addresses": [{"workload": {...}} or {"service": {...}}], "authorizations":
[{...}]} in protobuf's field names, addresses as text; it is read again whenever it changes. What is heard and done comes
out as a JSON object a line, the first one {"event": "listening", "port": N} (and "plaintext": N). Orders come in as a JSON object a line, on
standard input or through the FIFO, which is made:

    {"do": "put", "addresses": [], "authorizations": []}     these, whatever else there is
    {"do": "remove", "names": []}                            a uid, namespace/hostname or namespace/name
    {"do": "mesh", "addresses": [], "authorizations": []}    these and nothing else; without them: nothing
    {"do": "replay", "directory": D, "replace": {old: new}}  recorded responses, other names and addresses put in; parts
                                                             of names too, in this order
    {"do": "many", "workloads": 10000, "services": 1000}     made up; with "quietly": true streams are told by the next
    {"do": "tell"}                                           this, which takes no time from others that want to run
    {"do": "put raw", "kind": "Authorization", "name": N, "base64": B}
    {"do": "tokens", "accept": ["..."]}                      others are refused; null: all are taken
    {"do": "identities", "accept": ["spiffe://..."]}         of the CA; null: all
    {"do": "sign for", "seconds": 5}                         whatever is asked for; null: as asked
    {"do": "other root"}                                     the CA signs with another one; the one told of stays
    {"do": "other root", "told": true}                       the same, and it is told of as well
    {"do": "slow", "seconds": 2, "part": "xds" or "ca"}
    {"do": "garbage", "what": "bytes" | "no nonce" | "unknown kind" | "unreadable resource"}
    {"do": "end", "code": "UNAVAILABLE", "text": "..."}      every stream
    {"do": "away"}  {"do": "back", "max_age": seconds}       a new process as far as clients see
    {"do": "back", "as": "http" | "silence" | "noise"}       something else listens in its place
    {"do": "quit"}

Each order is answered with {"event": "done", "do": ...} or {"event": "failed", ...}. It ends with its standard input, or
when it is killed.
"""
import argparse
import base64
import itertools
import json
import os
import sys
import threading
import time
from concurrent import futures

import grpc

from control_plane import messages
from control_plane.authority import Authority, Refused
from control_plane.discovery import Stream
from control_plane.mesh import ADDRESS, AUTHORIZATION, Mesh
from control_plane.strangers import Stranger

NAMES = ["istiod.istio-system.svc", "istiod.istio-system.svc.cluster.local", "istiod.istio-system"]


class Istiod:
    def __init__(self, options):
        self.options = options
        self.mesh = Mesh()
        self.authority = Authority(options.home)
        self.tokens = options.token or None
        self.identities = None
        self.sign_for = None
        self.slow = {"xds": 0, "ca": 0}
        self.streams = set()
        self.numbers = itertools.count(1)
        self.output = threading.Lock()
        self.running = None
        self.stranger = None
        self.host, _, port = options.listen.rpartition(":")
        self.port = int(port)

    # What streams and calls need.

    def say(self, event, **more):
        with self.output:
            print(json.dumps({"event": event, **more}), flush=True)

    def next_number(self):
        return next(self.numbers)

    def wait_as_told(self, part):
        if self.slow[part]:
            time.sleep(self.slow[part])

    def check_token(self, context, refusal):
        said = dict(context.invocation_metadata())
        bearer = said.get("authorization", "")
        if bearer and not bearer.startswith("Bearer "):
            bearer = ""
        if self.tokens is not None and bearer.removeprefix("Bearer ") not in self.tokens:
            self.say("refused", token=bearer.removeprefix("Bearer "), text=refusal)
            context.abort(grpc.StatusCode.UNAUTHENTICATED, refusal)
        return said

    def check_node(self, request, context):
        parts = request.node.id.split("~")
        if not request.node.id:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "missing node information")
        if len(parts) != 4:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f'missing parts in the service node "{request.node.id}"')

    # The two services.

    def discover(self, requests, context):
        said = self.check_token(context, "authentication failure")
        self.say("headers", **{k: v for k, v in said.items() if isinstance(v, str)})
        yield from Stream(self, context).responses(requests)

    def create_certificate(self, data, context):
        said = self.check_token(context, "request authenticate failure")
        request = messages.CertificateRequest.FromString(data)
        identity = request.metadata.fields["ImpersonatedIdentity"].string_value
        good = identity.startswith("spiffe://") and (self.identities is None or identity in self.identities)
        if not good or "clusterid" not in said:
            self.say("refused", identity=identity, clusterid=said.get("clusterid"))
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "request impersonation authentication failure")
        self.wait_as_told("ca")
        try:
            leaf, chain = self.authority.sign(request.csr, identity, request.validity_duration, self.sign_for)
        except Refused as refused:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(refused))
        self.say("signed", identity=identity, serial=str(leaf.serial_number), seconds=request.validity_duration,
                 clusterid=said.get("clusterid"))
        return messages.CertificateResponse(cert_chain=chain).SerializeToString()

    # Its life.

    def start(self, max_age=None):
        settings = [("grpc.http2.min_recv_ping_interval_without_data_ms", 1000), ("grpc.http2.max_ping_strikes", 0),
                    ("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1),
                    ("grpc.so_reuseport", 1)]
        if max_age:
            settings += [("grpc.max_connection_age_ms", int(max_age * 1000)),
                         ("grpc.max_connection_age_grace_ms", 1000)]
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), options=settings)
        server.add_generic_rpc_handlers((
            grpc.method_handlers_generic_handler("envoy.service.discovery.v3.AggregatedDiscoveryService", {
                "DeltaAggregatedResources": grpc.stream_stream_rpc_method_handler(self.discover)}),
            grpc.method_handlers_generic_handler("istio.v1.auth.IstioCertificateService", {
                "CreateCertificate": grpc.unary_unary_rpc_method_handler(self.create_certificate)})))
        key, chain = self.authority.server(self.options.name or NAMES)
        self.port = server.add_secure_port(f"{self.host}:{self.port}", grpc.ssl_server_credentials([(key, chain)]))
        more = {}
        if self.options.plaintext:
            more["plaintext"] = server.add_insecure_port(self.options.plaintext)
        server.start()
        self.running = server
        self.say("listening", port=self.port, **more)

    def away(self):
        if self.stranger:
            self.stranger.stop()
        if self.running:
            self.running.stop(grace=None).wait()
        self.running = self.stranger = None

    def back(self, order):
        self.away()
        if order.get("as"):
            self.stranger = Stranger(order["as"], self.host, self.port, self.authority.server(NAMES), self.say)
        else:
            self.start(order.get("max_age"))

    def obey(self, order):
        what = order["do"]
        things = {"addresses": order.get("addresses", ()), "authorizations": order.get("authorizations", ())}
        if what == "put":
            self.mesh.put(**things)
        elif what == "mesh":
            self.mesh.replace_all(**things)
        elif what == "remove":
            self.mesh.remove(order["names"])
        elif what == "replay":
            self.mesh.replay(order["directory"], order.get("replace", {}))
        elif what == "many":
            self.mesh.put_many(order["workloads"], order["services"], order.get("quietly", False))
        elif what == "tell":
            for task in os.listdir("/proc/self/task"):
                os.setpriority(os.PRIO_PROCESS, int(task), 10)
            self.mesh.changed()
        elif what == "put raw":
            kind = ADDRESS if order["kind"] == "Address" else AUTHORIZATION
            self.mesh.put_raw(kind, order["name"], base64.b64decode(order["base64"]))
        elif what == "tokens":
            self.tokens = order["accept"]
        elif what == "identities":
            self.identities = order["accept"]
        elif what == "sign for":
            self.sign_for = order["seconds"]
        elif what == "other root":
            self.authority.renew()
            if order.get("told"):
                self.authority.tell()
        elif what == "slow":
            self.slow[order.get("part", "xds")] = order["seconds"]
        elif what == "garbage":
            for stream in list(self.streams):
                stream.garbage(order["what"])
        elif what == "end":
            for stream in list(self.streams):
                stream.end(order["code"], order["text"])
        elif what == "away":
            self.away()
        elif what == "back":
            self.back(order)
        else:
            raise ValueError(f"no order is called {what}")

    @staticmethod
    def version_of(file):
        stat = os.stat(file)
        return stat.st_mtime_ns, stat.st_ino, stat.st_size

    def follow(self, file, seen):
        """The mesh's file, from now on."""
        while True:
            try:
                version = self.version_of(file)
                if version != seen:
                    self.mesh.read(file)
                    seen = version
                    self.say("read", file=file)
            except (OSError, ValueError) as error:  # of a file that is being written: another turn comes
                self.say("failed", file=file, error=str(error))
            time.sleep(0.1)


def main():
    parser = argparse.ArgumentParser(description="plays istiod for tests and tours")
    parser.add_argument("--home", required=True)
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--plaintext")
    parser.add_argument("--mesh")
    parser.add_argument("--token", action="append")
    parser.add_argument("--name", action="append")
    parser.add_argument("--orders")
    options = parser.parse_args()
    istiod = Istiod(options)
    if options.mesh:
        version = istiod.version_of(options.mesh)
        istiod.mesh.read(options.mesh)
        threading.Thread(target=istiod.follow, args=(options.mesh, version), daemon=True).start()
    orders = sys.stdin
    if options.orders:
        os.mkfifo(options.orders, 0o600)
        orders = open(os.open(options.orders, os.O_RDWR), encoding="utf-8")  # never at its end: we write to it, too
    istiod.start()
    for line in orders:
        if not line.strip():
            continue
        try:
            order = json.loads(line)
            if order["do"] == "quit":
                break
            istiod.obey(order)
            istiod.say("done", do=order["do"])
        except Exception as error:  # the order's fault; whoever gave it is told
            istiod.say("failed", line=line.strip(), error=f"{type(error).__name__}: {error}")
    istiod.away()
    os._exit(0)  # threads of streams may still wait


if __name__ == "__main__":
    main()
