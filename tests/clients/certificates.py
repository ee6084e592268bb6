"""certificates.py DIRECTORY: a certificate for localhost and 127.0.0.1 (`cert.pem`, `key.pem`) of an authority that
nobody knows (`ca.pem`)."""

import datetime
import ipaddress
import os
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def certificate(name, key, issuer, issuer_key, *extensions):
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def make(directory):
    def write(name, content):
        with open(os.path.join(directory, name), "wb") as file:
            file.write(content)

    def named(text):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority, local = named("Tests"), named("localhost")
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    write("ca.pem", certificate(authority, authority_key, authority, authority_key, constraints))
    hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    write("cert.pem", certificate(local, key, authority, authority_key, x509.SubjectAlternativeName(hosts)))
    no_encryption = serialization.NoEncryption()
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    write("key.pem", key.private_bytes(pem, form, no_encryption))


if __name__ == "__main__":
    make(sys.argv[1])
