# SPDX-License-Identifier: Apache-2.0
"""Delta ADS as istiod speaks it to a node proxy: one Stream per call."""
import queue
import threading
import uuid

import grpc

from . import messages
from .mesh import ADDRESS, KINDS, Resource


class Subscription:
    """What a stream was told of one kind."""

    def __init__(self, kind, request):
        self.kind = kind
        subscribed, unsubscribed = set(request.resource_names_subscribe), set(request.resource_names_unsubscribe)
        # The first request of a stream decides.
        self.wildcard = not subscribed or ("*" in subscribed and "*" not in unsubscribed)
        self.told = dict(request.initial_resource_versions)  # by name: the version
        self.names = (subscribed | set(self.told)) - {"*"}
        self.nonce = None


class Stream:
    def __init__(self, server, context):
        self.server, self.context = server, context
        self.number = server.next_number()
        self.events = queue.Queue()
        self.node = None
        self.subscriptions = {}

    def say(self, what, **more):
        self.server.say(what, stream=self.number, **more)

    def responses(self, requests):
        """The generator that the call is."""
        self.say("opened", peer=self.context.peer())
        threading.Thread(target=self._read, args=(requests,), daemon=True).start()
        self.context.add_callback(lambda: self.events.put(("end", None)))
        listener = lambda: self.events.put(("changed", None))
        self.server.mesh.listeners.add(listener)
        self.server.streams.add(self)
        try:
            yield from self._serve()
        finally:
            self.server.mesh.listeners.discard(listener)
            self.server.streams.discard(self)
            self.say("closed")

    def _read(self, requests):
        try:
            for bytes_ in requests:
                self.events.put(("request", bytes_))
        except grpc.RpcError:
            pass
        self.events.put(("end", None))

    def _serve(self):
        while True:
            what, value = self.events.get()
            if what == "end":
                return
            if what == "abort":
                self.context.abort(getattr(grpc.StatusCode, value[0]), value[1])
            answers = [value] if what == "raw" else self._answers(what, value)
            for answer in answers:
                self.server.wait_as_told("xds")
                yield answer

    def _answers(self, what, value):
        if what == "request":
            return self._hear(messages.Request.FromString(value))
        answers = []
        for kind in KINDS:
            subscription = self.subscriptions.get(kind)
            if subscription:
                answers += self._push(subscription) if subscription.wildcard else self._push_on_demand(subscription)
        return answers

    def _hear(self, request):
        kind = request.type_url
        if request.response_nonce:
            self._hear_answer(request)
            return []
        if kind not in KINDS:
            return [self._response(kind, [], []).SerializeToString()]
        if kind not in self.subscriptions:
            return self._begin(request)
        self.say("asked", kind=kind.rpartition(".")[2], names=list(request.resource_names_subscribe),
                 back=list(request.resource_names_unsubscribe))
        return self._answer_questions(request)

    def _begin(self, request):
        kind = request.type_url
        if not self.subscriptions:
            self.server.check_node(request, self.context)
        subscription = self.subscriptions[kind] = Subscription(kind, request)
        metadata = {key: value.string_value for key, value in request.node.metadata.fields.items()}
        self.say("subscribed", kind=kind.rpartition(".")[2], node=request.node.id, metadata=metadata,
                 wildcard=subscription.wildcard, versions=len(request.initial_resource_versions))
        if subscription.wildcard:
            return self._push(subscription, first=True)
        self.node = metadata.get("NODE_NAME")
        return [self._told(subscription, [(resource, []) for resource in self._own_pods()], [])]

    def _own_pods(self):
        found = []
        for resource in self.server.mesh.held(ADDRESS).values():
            message = messages.Address.FromString(resource.value)
            if message.workload.node and message.workload.node == self.node:
                found.append(resource)
        return found

    def _hear_answer(self, request):
        subscription = self.subscriptions.get(request.type_url)
        kind = request.type_url.rpartition(".")[2]
        stale = subscription is None or request.response_nonce != subscription.nonce
        if request.error_detail.message:
            self.say("nack", kind=kind, reason=request.error_detail.message, stale=stale)
        else:
            self.say("ack", kind=kind, stale=stale)

    def _push(self, subscription, first=False):
        """All that is not as it was told."""
        held = self.server.mesh.held(subscription.kind)
        if first and subscription.kind != ADDRESS:
            changed = list(held.values())  # whatever versions the client has
        else:
            changed = [r for n, r in held.items() if subscription.told.get(n) != self._mark(r)]
        removed = [name for name in subscription.told if name not in held]
        if not changed and not removed and not first:
            return []
        return [self._told(subscription, [(resource, []) for resource in changed], removed)]

    def _push_on_demand(self, subscription):
        """What is new of all that it was told of, of its node, and behind services that it was told of."""
        held = self.server.mesh.held(ADDRESS)
        meant = {resource.name for resource in self._own_pods()} | set(subscription.told)
        for name in subscription.told:
            meant |= {resource.name for resource, _ in self.server.mesh.behind(name)}
        changed = [r for n, r in held.items() if n in meant and subscription.told.get(n) != self._mark(r)]
        removed = [name for name in subscription.told if name not in held]
        return [self._told(subscription, [(r, []) for r in changed], removed)] if changed or removed else []

    @staticmethod
    def _mark(resource):
        return resource.version or resource.value

    def _answer_questions(self, request):
        subscription = self.subscriptions[request.type_url]
        subscription.names -= set(request.resource_names_unsubscribe)
        found, missing = [], []
        for name in request.resource_names_subscribe:
            if name in subscription.told or name in subscription.names:
                continue  # istiod does not answer for what it has told, nor to a subscription that it has
            subscription.names.add(name)
            answer = self.server.mesh.asked(name)
            found += answer
            if not answer:
                missing.append(name)
        return [self._told(subscription, found, missing)] if found or missing else []

    def _told(self, subscription, resources, removed):
        for resource, _ in resources:
            subscription.told[resource.name] = self._mark(resource)
        for name in removed:
            subscription.told.pop(name, None)
        response = self._response(subscription.kind, resources, removed)
        subscription.nonce = response.nonce
        self.say("pushed", kind=subscription.kind.rpartition(".")[2], resources=len(resources), removed=len(removed))
        return response.SerializeToString()

    def _response(self, kind, resources, removed):
        response = messages.Response(type_url=kind, nonce=str(uuid.uuid4()), removed_resources=removed)
        for resource, aliases in resources:
            into = response.resources.add(name=resource.name, version=resource.version, aliases=aliases)
            into.resource.type_url = kind
            into.resource.value = resource.value
        return response

    def garbage(self, what):
        """One thing that no istiod says."""
        kinds = {
            "bytes": b"\xff\xff\xff\xff what is this",
            "no nonce": messages.Response(type_url=ADDRESS).SerializeToString(),
            "unknown kind": messages.Response(type_url="type.googleapis.com/google.protobuf.Any",
                                              nonce="nonsense").SerializeToString(),
            "unreadable resource": self._response(ADDRESS, [(Resource(ADDRESS, "nonsense", b"\xff\xff"), [])],
                                                  []).SerializeToString(),
        }
        self.events.put(("raw", kinds[what]))

    def end(self, code, text):
        self.events.put(("abort", (code, text)))
