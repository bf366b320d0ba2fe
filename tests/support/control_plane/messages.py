# SPDX-License-Identifier: Apache-2.0
"""The messages of a control plane: our .proto files, through protoc, as Python's classes."""
import ipaddress
import pathlib
import subprocess
import tempfile

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

PROTOS = pathlib.Path(__file__).resolve().parents[3] / "userspace" / "xds" / "proto"

# Of the certificate service.
CA = """
syntax = "proto3";
package istio.v1.auth;
option optimize_for = LITE_RUNTIME;
import "common.proto";
message IstioCertificateRequest {
    string csr = 1;
    int64 validity_duration = 3;
    culvert.wire.Struct metadata = 4;
}
message IstioCertificateResponse {
    repeated string cert_chain = 1;
}
"""


def load():
    with tempfile.TemporaryDirectory() as home:
        (pathlib.Path(home) / "citadel.proto").write_text(CA)
        out = pathlib.Path(home) / "all"
        names = ["discovery.proto", "workload.proto", "authorization.proto", "citadel.proto"]
        subprocess.run(["protoc", "-I", str(PROTOS), "-I", home, "--include_imports", "-o", str(out), *names], check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        file.ClearField("options")  # of the C++ run time alone
        pool.Add(file)
    if hasattr(message_factory, "GetMessageClass"):
        return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
    factory = message_factory.MessageFactory(pool)
    return lambda name: factory.GetPrototype(pool.FindMessageTypeByName(name))


_class = load()
Address = _class("istio.workload.Address")
Authorization = _class("istio.security.Authorization")
Request = _class("envoy.service.discovery.v3.DeltaDiscoveryRequest")
Response = _class("envoy.service.discovery.v3.DeltaDiscoveryResponse")
CertificateRequest = _class("istio.v1.auth.IstioCertificateRequest")
CertificateResponse = _class("istio.v1.auth.IstioCertificateResponse")


def to_ip_bytes(data, key="", inside_addresses=False):
    """JSON for people says addresses as text; protobuf's says bytes in base64."""
    import base64
    if isinstance(data, dict):
        return {k: to_ip_bytes(v, k, inside_addresses) for k, v in data.items()}
    if isinstance(data, list):
        return [to_ip_bytes(v, key, inside_addresses) for v in data]
    if isinstance(data, str) and key in ("address", "addresses"):
        try:
            return base64.b64encode(ipaddress.ip_address(data).packed).decode()
        except ValueError:
            return data
    return data


def address(data):
    return json_format.ParseDict(to_ip_bytes(data), Address())


def authorization(data):
    return json_format.ParseDict(to_ip_bytes(data), Authorization())


def name_of(message):
    if message.DESCRIPTOR.name == "Authorization":
        return f"{message.namespace}/{message.name}"
    if message.WhichOneof("type") == "workload":
        return message.workload.uid
    return f"{message.service.namespace}/{message.service.hostname}"


def replace(message, texts):
    """The same message with other texts and addresses in it: a recorded cluster's become a lab's."""
    addresses = {}
    for old, new in texts.items():
        try:
            addresses[ipaddress.ip_address(old).packed] = ipaddress.ip_address(new).packed
        except ValueError:
            pass

    def other(value):
        if isinstance(value, bytes):
            return addresses.get(value, value)
        if isinstance(value, str):
            for old, new in texts.items():
                value = value.replace(old, new)
        return value

    def walk(at):
        for field, value in at.ListFields():
            if field.message_type and field.message_type.GetOptions().map_entry:
                fields = field.message_type.fields_by_name
                if fields["value"].message_type is None:
                    continue
                for key in list(value):
                    walk(value[key])
                    if other(key) != key:
                        value[other(key)].CopyFrom(value[key])
                        del value[key]
            elif field.label == field.LABEL_REPEATED:
                for index, item in enumerate(value):
                    if field.message_type:
                        walk(item)
                    else:
                        value[index] = other(item)
            elif field.message_type:
                walk(value)
            else:
                setattr(at, field.name, other(value))

    walk(message)
    return message
