#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kube.py SERVER VERB ...: what scripts/real-istio says to a kube-apiserver, as its administrator.

    apply FILE...                        objects of YAML files, - for standard input: made, or brought to this; status too
    delete KIND NAMESPACE NAME
    patch KIND NAMESPACE NAME JSON       a merge patch
    get KIND NAMESPACE NAME              the object, as JSON
    token NAMESPACE ACCOUNT POD FILE     a ServiceAccount token for istiod, bound to a pod, as the kubelet would project it

What a kubelet would say of pods, and a controller of their ReplicaSets, is in the objects' own status.
"""
import json
import os
import ssl
import sys
import urllib.error
import urllib.request

import yaml

PATHS = {  # group and version, plural, whether it lives in a namespace
    "Namespace": ("api/v1", "namespaces", False),
    "Node": ("api/v1", "nodes", False),
    "Pod": ("api/v1", "pods", True),
    "Service": ("api/v1", "services", True),
    "ServiceAccount": ("api/v1", "serviceaccounts", True),
    "ConfigMap": ("api/v1", "configmaps", True),
    "CustomResourceDefinition": ("apis/apiextensions.k8s.io/v1", "customresourcedefinitions", False),
    "AuthorizationPolicy": ("apis/security.istio.io/v1", "authorizationpolicies", True),
    "PeerAuthentication": ("apis/security.istio.io/v1", "peerauthentications", True),
}


class Server:
    def __init__(self, address):
        self.address = address
        self.context = ssl.create_default_context()
        self.context.check_hostname = False  # it makes a certificate for itself, and nobody else is in its netns
        self.context.verify_mode = ssl.CERT_NONE

    def call(self, method, path, body=None, kind="application/json"):
        request = urllib.request.Request(f"{self.address}/{path}", method=method,
                                         data=None if body is None else json.dumps(body).encode(),
                                         headers={"Authorization": "Bearer admin", "Content-Type": kind})
        with urllib.request.urlopen(request, timeout=20, context=self.context) as answer:
            return json.load(answer)

    @staticmethod
    def path(kind, namespace, name=None):
        group, plural, inside = PATHS[kind]
        parts = [group, *(["namespaces", namespace] if inside else []), plural, *([name] if name else [])]
        return "/".join(parts)

    def apply(self, thing):
        kind, about = thing["kind"], thing["metadata"]
        namespace, name = about.get("namespace"), about["name"]
        # The API would not have a status at birth.
        try:
            self.call("POST", self.path(kind, namespace), thing)
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise
            self.patch(kind, namespace, name, thing)
        if "status" in thing and kind != "CustomResourceDefinition":
            self.patch(kind, namespace, f"{name}/status", {"status": thing["status"]})

    def patch(self, kind, namespace, name, change):
        self.call("PATCH", self.path(kind, namespace, name), change, "application/merge-patch+json")

    def token(self, namespace, account, pod, file):
        uid = self.call("GET", self.path("Pod", namespace, pod))["metadata"]["uid"]
        answer = self.call("POST", self.path("ServiceAccount", namespace, account) + "/token", {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": ["istio-ca"], "expirationSeconds": 43200,
                     "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}}})
        fresh = file + ".fresh"
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
            out.write(answer["status"]["token"])
        os.rename(fresh, file)


def things(file):
    with sys.stdin if file == "-" else open(file, encoding="utf-8") as text:
        yield from (thing for thing in yaml.safe_load_all(text) if thing)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    server, verb, given = Server(sys.argv[1]), sys.argv[2], sys.argv[3:]
    try:
        if verb == "apply":
            for file in given:
                for thing in things(file):
                    server.apply(thing)
        elif verb == "delete":
            server.call("DELETE", server.path(*given))
        elif verb == "patch":
            server.patch(*given[:3], json.loads(given[3]))
        elif verb == "get":
            print(json.dumps(server.call("GET", server.path(*given))))
        elif verb == "token":
            server.token(*given)
        else:
            sys.exit(__doc__)
    except urllib.error.HTTPError as error:
        sys.exit(f"kube.py: {verb} {' '.join(given)}: {error.code} {error.read().decode()[:500]}")
    except OSError as error:
        sys.exit(f"kube.py: {verb} {' '.join(given)}: {error}")


main()
