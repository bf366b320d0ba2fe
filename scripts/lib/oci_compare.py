# SPDX-License-Identifier: Apache-2.0
"""oci_compare.py ARCHIVE ARCHIVE: are two OCI image archives the same image? Compared file by file (kind, mode, owner,
content) and in what they run; neither how files are cut into layers nor times matter. Says what differs, exits 1 then.
"""

import gzip
import hashlib
import io
import json
import sys
import tarfile

SETTINGS = ("Entrypoint", "Cmd", "Env", "StopSignal", "User")


class Image:
    def __init__(self, archive):
        with tarfile.open(archive) as self.tar:
            manifest = self.blob(json.load(self.tar.extractfile("index.json"))["manifests"][0])
            manifest = json.loads(manifest)
            config = json.loads(self.blob(manifest["config"]))
            self.platform = config["os"] + "/" + config["architecture"]
            self.config = config["config"]
            self.files = {}
            for layer in manifest["layers"]:
                self.add_layer(self.blob(layer))

    def blob(self, descriptor):
        return self.tar.extractfile("blobs/" + descriptor["digest"].replace(":", "/")).read()

    def add_layer(self, packed):
        content = gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed
        with tarfile.open(fileobj=io.BytesIO(content)) as layer:
            for info in layer:
                name = info.name.strip("./")
                if name:
                    self.files[name] = describe(layer, info)

    def labels(self):
        kept = {key: value for key, value in self.config.get("Labels", {}).items() if ".image." in key}
        kept.pop("org.opencontainers.image.created", None)
        return kept


def describe(layer, info):
    owner, mode = f"{info.uid}:{info.gid}", f"{info.mode & 0o7777:o}"
    if info.issym():
        return f"link to {info.linkname}, {owner}"
    if info.isdir():
        return f"folder, {mode}, {owner}"
    content = layer.extractfile(info).read()
    return f"file, {mode}, {owner}, {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()[:16]}"


def differences(one, other):
    if one.platform != other.platform:
        yield f"platform: {one.platform} and {other.platform}"
    for setting in SETTINGS:
        if one.config.get(setting) != other.config.get(setting):
            yield f"{setting}: {one.config.get(setting)} and {other.config.get(setting)}"
    if one.labels() != other.labels():
        yield f"labels: {one.labels()} and {other.labels()}"
    for name in sorted(one.files.keys() | other.files.keys()):
        if one.files.get(name) != other.files.get(name):
            yield f"{name}: {one.files.get(name, 'missing')} and {other.files.get(name, 'missing')}"


images = [Image(archive) for archive in sys.argv[1:3]]
found = list(differences(*images))
for line in found:
    print(line)
print(f"{len(images[0].files)} and {len(images[1].files)} entries, " + (f"{len(found)} differences" if found else "the same"))
sys.exit(bool(found))
