# SPDX-License-Identifier: Apache-2.0
"""The mesh's CA and istiod's own certificate. As istiod's: an RSA root that signs with SHA-256, two minutes of grace."""
import datetime
import os
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LONGEST = 90 * 24 * 3600
USUAL = 24 * 3600


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def write(path, data, mode=0o644):
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
    fresh.rename(path)


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


class Refused(Exception):
    pass


class Authority:
    """Keeps root-cert.pem and root-key.pem in `home`; makes them where they are missing."""

    def __init__(self, home):
        self.home = pathlib.Path(home)
        self.home.mkdir(parents=True, exist_ok=True)
        certificate, key = self.home / "root-cert.pem", self.home / "root-key.pem"
        if certificate.exists() and key.exists():
            self.root = x509.load_pem_x509_certificate(certificate.read_bytes())
            self.key = serialization.load_pem_private_key(key.read_bytes(), None)
        else:
            self.renew()
        self.roots = [pem(self.root)]  # what clients are told to trust

    def renew(self):
        """Another root; the roots told of stay."""
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "cluster.local")])
        self.root = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now() - datetime.timedelta(minutes=2)).not_valid_after(now() + datetime.timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256()))
        write(self.home / "root-key.pem", key_pem(self.key), 0o600)
        write(self.home / "root-cert.pem", pem(self.root).encode())

    def tell(self):
        self.roots.append(pem(self.root))

    def _leaf(self, public_key, names, seconds, grace):
        return (
            x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(self.root.subject).public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now() - datetime.timedelta(seconds=grace))
            .not_valid_after(now() + datetime.timedelta(seconds=seconds))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(True, False, True, False, False, False, False, False, False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                           critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .sign(self.key, hashes.SHA256()))

    def server(self, names):
        """istiod's own: (key, chain)."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self._leaf(key.public_key(), [x509.DNSName(name) for name in names], USUAL, 120)
        return key_pem(key), (pem(leaf) + pem(self.root)).encode()

    def sign(self, csr, identity, seconds, short=None):
        """The chain of a workload: leaf, then the roots. `short`: so many seconds, whatever was asked for."""
        try:
            request = x509.load_pem_x509_csr(csr.encode())
        except ValueError:
            raise Refused("CSR signing error (failed to parse X.509 certificate signing request)") from None
        if seconds > LONGEST:
            raise Refused(f"CSR signing error (requested TTL {seconds // 3600}h0m0s is greater than the max allowed TTL "
                          f"{LONGEST // 3600}h0m0s)")
        seconds = short or (seconds if seconds > 0 else USUAL)
        leaf = self._leaf(request.public_key(), [x509.UniformResourceIdentifier(identity)], seconds,
                          0 if short else 120)
        return leaf, [pem(leaf), "".join(self.roots)]
