# SPDX-License-Identifier: Apache-2.0
"""What there is to tell of: resources by kind and name, as bytes with their versions. Streams wait for its changes."""
import hashlib
import json
import pathlib
import threading

from . import messages

ADDRESS = "type.googleapis.com/istio.workload.Address"
AUTHORIZATION = "type.googleapis.com/istio.security.Authorization"
KINDS = (ADDRESS, AUTHORIZATION)  # in the order of a push


class Resource:
    def __init__(self, kind, name, value):
        self.kind, self.name, self.value = kind, name, value
        # Of authorizations istiod gives none.
        self.version = hashlib.blake2b(value, digest_size=8).hexdigest() if kind == ADDRESS else ""


def natural(path):
    return int("".join(c for c in path.stem if c.isdigit()) or 0)


class Mesh:
    def __init__(self):
        self.lock = threading.RLock()
        self.resources = {kind: {} for kind in KINDS}
        self.listeners = set()  # of streams: called without arguments

    def held(self, kind):
        with self.lock:
            return dict(self.resources[kind])

    def changed(self):
        for listener in list(self.listeners):
            listener()

    def put(self, addresses=(), authorizations=()):
        with self.lock:
            for each in addresses:
                self._put(ADDRESS, messages.address(each))
            for each in authorizations:
                self._put(AUTHORIZATION, messages.authorization(each))
        self.changed()

    def put_raw(self, kind, name, value):
        """Bytes as they are: what nobody can read, for instance."""
        with self.lock:
            self.resources[kind][name] = Resource(kind, name, value)
        self.changed()

    def put_many(self, workloads, services, quietly=False):
        """As many, made up; each workload stands behind one service."""
        with self.lock:
            for i in range(services):
                address = f"10.{200 + i // 65536}.{i // 256 % 256}.{i % 256}"
                self._put(ADDRESS, messages.address({"service": {
                    "name": f"many-{i}", "namespace": "many", "hostname": f"many-{i}.many.svc.cluster.local",
                    "addresses": [{"address": address}], "ports": [{"service_port": 80, "target_port": 8080}]}}))
            for i in range(workloads):
                address = f"10.{100 + i // 65536}.{i // 256 % 256}.{i % 256}"
                service = f"many/many-{i % max(services, 1)}.many.svc.cluster.local"
                self._put(ADDRESS, messages.address({"workload": {
                    "uid": f"Kubernetes//Pod/many/many-{i}", "name": f"many-{i}", "namespace": "many",
                    "addresses": [address], "tunnel_protocol": "HBONE", "trust_domain": "cluster.local",
                    "service_account": "many", "node": f"far-{i % 100}", "workload_name": "many",
                    "canonical_name": "many", "canonical_revision": "v1", "cluster_id": "Kubernetes",
                    "services": {service: {"ports": [{"service_port": 80, "target_port": 8080}]}} if services else {}}}))
        if not quietly:
            self.changed()

    def remove(self, names):
        with self.lock:
            for kind in KINDS:
                for name in names:
                    self.resources[kind].pop(name, None)
        self.changed()

    def replace_all(self, addresses=(), authorizations=()):
        with self.lock:
            self.resources = {kind: {} for kind in KINDS}
            self.put(addresses, authorizations)

    def read(self, file):
        said = json.loads(pathlib.Path(file).read_text())
        self.replace_all(said.get("addresses", ()), said.get("authorizations", ()))

    def replay(self, directory, texts):
        """What recorded responses add up to, with a lab's names and addresses put in."""
        readers = {ADDRESS: messages.Address, AUTHORIZATION: messages.Authorization}
        with self.lock:
            for file in sorted(pathlib.Path(directory).glob("response-*.bin"), key=natural):
                response = messages.Response.FromString(file.read_bytes())
                for each in response.resources:
                    message = messages.replace(readers[response.type_url].FromString(each.resource.value), texts)
                    self._put(response.type_url, message)
                for name in response.removed_resources:
                    self.resources[response.type_url].pop(name, None)
        self.changed()

    def _put(self, kind, message):
        resource = Resource(kind, messages.name_of(message), message.SerializeToString(deterministic=True))
        self.resources[kind][resource.name] = resource

    def asked(self, name):
        """The answer to a question by name: [(resource, aliases)]. An address or a host name brings its workloads."""
        network, _, ip = name.partition("/")
        with self.lock:
            held = self.resources[ADDRESS]
            if name in held and not self._is_service(held[name]):
                return [(held[name], [])]
            for resource in held.values():
                message = messages.Address.FromString(resource.value)
                if self._matches(message, name, network, ip):
                    more = self.behind(resource.name) if message.WhichOneof("type") == "service" else []
                    return [(resource, [] if resource.name == name else [name])] + more
        return []

    @staticmethod
    def _is_service(resource):
        return messages.Address.FromString(resource.value).WhichOneof("type") == "service"

    @staticmethod
    def _matches(message, name, network, ip):
        import ipaddress
        if messages.name_of(message) == name:
            return True
        try:
            packed = ipaddress.ip_address(ip).packed
        except ValueError:
            return False
        if message.WhichOneof("type") == "workload":
            return message.workload.network == network and packed in message.workload.addresses
        return any(a.network == network and a.address == packed for a in message.service.addresses)

    def behind(self, service):
        found = []
        for resource in self.held(ADDRESS).values():
            message = messages.Address.FromString(resource.value)
            if message.WhichOneof("type") == "workload" and service in message.workload.services:
                found.append((resource, []))
        return found
