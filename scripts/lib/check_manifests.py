#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_manifests.py SOURCES FILE...: whether a cluster takes what kubectl kustomize has made of manifests/kubernetes.

Each FILE against the strict schemas of the oldest and of the newest release that we care for, and what no schema knows:
that volumes and mounts belong together, that numbers that are said twice agree, and that culvertd in SOURCES reads every
variable. Prints a line for each complaint; the status says whether there were any.
"""

import os
import re
import sys

import kubernetes_validate
import yaml

RELEASES = ("1.30", "1.37")  # since 1.30 a container may say its AppArmor profile
WITHOUT_SCHEMA = {"PodMonitor": "monitoring.coreos.com/v1"}
NOT_OURS = re.compile(r"ISTIO_META_")  # any of these is for istiod
DOORS = {15020, 15021}


def by_schema(document):
    if WITHOUT_SCHEMA.get(document["kind"]) == document["apiVersion"]:
        return
    for release in RELEASES:
        try:
            kubernetes_validate.validate(document, release, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"Kubernetes {release}: {'.'.join(map(str, error.path))}: {error.message}"
        except kubernetes_validate.SchemaNotFoundError as error:
            yield error.message


def variables_read(sources):
    names = set()
    folder = os.path.join(sources, "userspace/control")
    for file in os.listdir(folder):
        with open(os.path.join(folder, file), encoding="utf-8") as source:
            names |= set(re.findall(r'"([A-Z][A-Z0-9_]+)"', source.read()))
    return names | {server + "_ADDRESS" for server in ("XDS", "CA")}


def of_daemonset(daemonset, read):
    template = daemonset["spec"]["template"]
    pod, container = template["spec"], template["spec"]["containers"][0]
    variables = {one["name"]: one.get("value") for one in container["env"]}
    volumes = {one["name"] for one in pod["volumes"]}
    mounts = {one["name"] for one in container["volumeMounts"]}
    if not daemonset["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items():
        yield "the selector does not select the pods"
    for name in volumes ^ mounts:
        yield f"{name} is not both, a volume and mounted"
    if len(variables) != len(container["env"]):
        yield "a variable is there twice"
    for name in variables:
        if name not in read and not NOT_OURS.match(name):
            yield f"culvertd reads no {name}"
    if variables["TERMINATION_GRACE_PERIOD_SECONDS"] != str(pod["terminationGracePeriodSeconds"]):
        yield "TERMINATION_GRACE_PERIOD_SECONDS is not terminationGracePeriodSeconds"
    if {one["containerPort"] for one in container["ports"]} != DOORS:
        yield f"the ports are not those of culvertd's doors, {DOORS}"
    if not any(variables["INPOD_UDS"].startswith(one["mountPath"] + "/") for one in container["volumeMounts"]):
        yield "nothing is mounted where INPOD_UDS is"


def complaints(sources, path):
    read = variables_read(sources)
    with open(path, encoding="utf-8") as file:
        documents = [document for document in yaml.safe_load_all(file) if document]
    if not any(document["kind"] == "DaemonSet" for document in documents):
        yield "there is no DaemonSet"
    for document in documents:
        name = f"{document['kind']} {document['metadata']['name']}"
        found = list(by_schema(document))
        if document["metadata"].get("namespace") != "istio-system":
            found.append("it is not in istio-system")
        if document["kind"] == "DaemonSet" and not found:
            found += of_daemonset(document, read)
        yield from (f"{name}: {one}" for one in found)


failed = 0
for path in sys.argv[2:]:
    for complaint in complaints(sys.argv[1], path):
        failed += 1
        print(f"{path}: {complaint}")
sys.exit(failed != 0)
