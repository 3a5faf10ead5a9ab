"""Makes a self-signed certificate (ECDSA on P-256) without a library, for self-tests.

A fresh key for each run is better than one in the package: scanners of container images
report private keys in files. It is not for production: nothing here resists timing
attacks.
"""

import base64
import datetime
import hashlib
import os
import secrets

# The curve P-256 (FIPS 186-4, D.1.2.3): y² = x³ - 3x + b modulo P.
P = 2**256 - 2**224 + 2**192 + 2**96 - 1
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
G = (0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
     0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5)

ECDSA_WITH_SHA256 = (1, 2, 840, 10045, 4, 3, 2)
EC_PUBLIC_KEY = (1, 2, 840, 10045, 2, 1)
PRIME256V1 = (1, 2, 840, 10045, 3, 1, 7)
COMMON_NAME = (2, 5, 4, 3)
SUBJECT_ALT_NAME = (2, 5, 29, 17)
VALID_DAYS = 2


def load_into(context, name):
    """Give an SSLContext of a server a certificate for `name`; its PEM text."""
    key, certificate = self_signed(name)
    # The ssl module reads keys from files only; this one is never on a disk.
    fd = os.memfd_create("certificate")
    try:
        os.write(fd, (key + certificate).encode())
        context.load_cert_chain(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
    return certificate


def self_signed(name):
    """(private key, certificate) for a DNS name, both as PEM."""
    secret = secrets.randbelow(N - 1) + 1
    public = b"\x04" + b"".join(part.to_bytes(32) for part in multiply(secret, G))
    key = sequence(
        integer(1), tlv(0x04, secret.to_bytes(32)), tlv(0xA0, oid(PRIME256V1)),
        tlv(0xA1, bits(public)))
    body = to_be_signed(name, public)
    certificate = sequence(
        body, sequence(oid(ECDSA_WITH_SHA256)), bits(signature(secret, body)))
    return pem("EC PRIVATE KEY", key), pem("CERTIFICATE", certificate)


def to_be_signed(name, public):
    """The part of a certificate that is signed (RFC 5280, section 4.1)."""
    now = datetime.datetime.now(datetime.timezone.utc)
    valid = [now + datetime.timedelta(days=days) for days in (-VALID_DAYS, VALID_DAYS)]
    who = sequence(tlv(0x31, sequence(
        oid(COMMON_NAME), tlv(0x0C, name.encode()))))
    alternatives = sequence(oid(SUBJECT_ALT_NAME), tlv(
        0x04, sequence(tlv(0x82, name.encode()))))
    return sequence(
        tlv(0xA0, integer(2)), integer(secrets.randbits(64)),
        sequence(oid(ECDSA_WITH_SHA256)), who,
        sequence(*(tlv(0x18, time.strftime("%Y%m%d%H%M%SZ").encode())
                   for time in valid)),
        who,
        sequence(sequence(oid(EC_PUBLIC_KEY), oid(PRIME256V1)), bits(public)),
        tlv(0xA3, sequence(alternatives)))


# ---- the curve --------------------------------------------------------------------


def signature(secret, message):
    """An ECDSA signature with SHA-256, as DER."""
    digest = int.from_bytes(hashlib.sha256(message).digest())
    while True:
        nonce = secrets.randbelow(N - 1) + 1
        r = multiply(nonce, G)[0] % N
        s = pow(nonce, -1, N) * (digest + r * secret) % N
        if r and s:
            return sequence(integer(r), integer(s))


def multiply(factor, point):
    """factor × point, by doubling and adding."""
    result = None
    while factor:
        if factor & 1:
            result = add(result, point)
        point = add(point, point)
        factor >>= 1
    return result


def add(left, right):
    """The sum of two points; None is the point at infinity."""
    if left is None or right is None:
        return left or right
    (x1, y1), (x2, y2) = left, right
    if left == right:
        slope = (3 * x1 * x1 - 3) * pow(2 * y1, -1, P)
    elif x1 == x2:
        return None
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, P)
    x = (slope * slope - x1 - x2) % P
    return x, (slope * (x1 - x) - y1) % P


# ---- DER (X.690) and PEM ----------------------------------------------------------


def tlv(tag, content):
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + content


def sequence(*parts):
    return tlv(0x30, b"".join(parts))


def integer(value):
    # One bit more than the value has, so that the sign bit is 0.
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1))


def bits(content):
    return tlv(0x03, b"\x00" + content)


def oid(numbers):
    first, second, *rest = numbers
    content = bytearray([40 * first + second])
    for number in rest:
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(0x80 | number & 0x7F)
        content += bytes(reversed(groups))
    return tlv(0x06, bytes(content))


def pem(label, der):
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN {label}-----\n{text}-----END {label}-----\n"
