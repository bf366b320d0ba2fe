# SPDX-License-Identifier: Apache-2.0
"""oci_archive.py --root ARCH=FOLDER... --commit HASH --version VERSION --date SECONDS FILE: FILE becomes an OCI image
archive, of one image, or with an index of several.

Two layers, so that a new culvertd does not move the libraries again: what comes from Debian, then what is ours. The same
files give the same bytes: names are sorted, owners are root, and no time is later than SECONDS (the commit's).
The format: https://github.com/opencontainers/image-spec (image-layout, manifest, config).
"""

import argparse
import datetime
import gzip
import hashlib
import io
import json
import os
import tarfile

OURS = ("usr/sbin/culvertd", "usr/bin/culvertctl", "usr/share/doc/culvert")
MEDIA = "application/vnd.oci.image."


def paths_below(root):
    found = []
    for folder, folders, files in os.walk(root):
        found += [os.path.relpath(os.path.join(folder, name), root) for name in folders + files]
    return sorted(found)


def is_ours(path):
    return any(path == ours or path.startswith(ours + "/") for ours in OURS)


def layer(root, paths, date):
    """The uncompressed tar of these paths."""

    def plain(info):
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mtime = min(int(info.mtime), date)
        return info

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in paths:
            tar.add(os.path.join(root, path), path, recursive=False, filter=plain)
    return buffer.getvalue()


class Layout:
    """An image layout in a tar, blob by blob."""

    def __init__(self, file, date):
        self.tar = tarfile.open(file, "w")
        self.date = date
        self.held = set()

    def add(self, name, content):
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = len(content), self.date, 0o644
        self.tar.addfile(info, io.BytesIO(content))

    def blob(self, kind, content):
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self.held:
            self.add("blobs/sha256/" + digest, content)
        self.held.add(digest)
        return {"mediaType": MEDIA + kind, "digest": "sha256:" + digest, "size": len(content)}


def to_json(value):
    return json.dumps(value, indent=1, sort_keys=True).encode()


def labels(options, created):
    return {
        "org.opencontainers.image.title": "culvert",
        "org.opencontainers.image.description": "eBPF-accelerated ambient dataplane: culvertd",
        "org.opencontainers.image.version": options.version,
        "org.opencontainers.image.revision": options.commit,
        "org.opencontainers.image.created": created,
        "org.opencontainers.image.licenses": "Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)",
    }


def add_image(layout, architecture, root, options, created):
    """The descriptor of its manifest."""
    paths = paths_below(root)
    layers, contents, history = [], [], []
    for what, ours in (("from Debian", False), ("culvertd", True)):
        content = layer(root, [path for path in paths if is_ours(path) == ours], options.date)
        contents.append("sha256:" + hashlib.sha256(content).hexdigest())
        layers.append(layout.blob("layer.v1.tar+gzip", gzip.compress(content, 6, mtime=0)))
        history.append({"created": created, "created_by": "scripts/image: " + what})
    config = layout.blob("config.v1+json", to_json({
        "created": created,
        "architecture": architecture,
        "os": "linux",
        "config": {
            "Entrypoint": ["/usr/sbin/culvertd"],
            "Env": ["PATH=/usr/sbin:/usr/bin"],
            "WorkingDir": "/",
            "StopSignal": "SIGTERM",
            "Labels": labels(options, created),
        },
        "rootfs": {"type": "layers", "diff_ids": contents},
        "history": history,
    }))
    manifest = layout.blob("manifest.v1+json", to_json({
        "schemaVersion": 2,
        "mediaType": MEDIA + "manifest.v1+json",
        "config": config,
        "layers": layers,
        "annotations": labels(options, created),
    }))
    return manifest | {"platform": {"architecture": architecture, "os": "linux"}}


def index(manifests):
    return to_json({"schemaVersion": 2, "mediaType": MEDIA + "index.v1+json", "manifests": manifests})


def write(options):
    created = datetime.datetime.fromtimestamp(options.date, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    layout = Layout(options.file, options.date)
    layout.add("oci-layout", to_json({"imageLayoutVersion": "1.0.0"}))
    images = [add_image(layout, *root.split("=", 1), options, created) for root in options.root]
    # One name, one entry: of several images it is an index of its own.
    named = images[0] if len(images) == 1 else layout.blob("index.v1+json", index(images))
    named["annotations"] = {"org.opencontainers.image.ref.name": options.version}
    layout.add("index.json", index([named]))
    layout.tar.close()


parser = argparse.ArgumentParser()
parser.add_argument("--root", required=True, action="append")
parser.add_argument("--commit", required=True)
parser.add_argument("--version", required=True)
parser.add_argument("--date", required=True, type=int)
parser.add_argument("file")
arguments = parser.parse_args()
final = arguments.file
arguments.file += ".new"
write(arguments)
os.replace(arguments.file, final)
