"""Decides, once in a process, whether connections may use OpenSSL directly.

ssl_connection.pyx needs two things that no interface gives: the libssl that `_ssl`
uses, and the `SSL` within an `_ssl._SSLSocket`. Each is proved on an object made for
that purpose, in an order in which a wrong guess is found before it can do harm: the
build of Python first, then numbers, then memory read through the kernel, and calls of
OpenSSL last. Whatever cannot be proved leaves TLS to ssl, with the reason.
"""

import functools
import ssl
import struct
import sys
import _ssl
from collections import namedtuple

from uring_loop._compat import SSL_LAYOUTS
from uring_loop.net import libssl

# An object's header in the builds that are known: reference count and type.
HEADER_BYTES = 16
# In a `_ssl.MemoryBIO`, the BIO follows the header.
BIO_OFFSET = 16
# The table of methods stands among the first fields of an SSL: how much is read.
SSL_BYTES = 128
# Not the beginning of a TLS record.
NONSENSE = b"this is no record of TLS\r\n\r\n"


class Refusal(Exception):
    """A check has failed: the reason."""


# `offset`: of the SSL within an `_ssl._SSLSocket`.
Verdict = namedtuple("Verdict", "engine reason offset")
ASKED_FOR = Verdict("stdlib", "asked for", -1)


@functools.lru_cache(maxsize=None)
def verdict():
    """What examine() says, which cannot change within a process."""
    return examine()


def examine():
    try:
        check_python()
        offset = known_offset()
        check_library()
        check_pointers(offset)
    except Refusal as exc:
        return Verdict("stdlib", str(exc), -1)
    except (OSError, ValueError, RuntimeError, MemoryError) as exc:
        return Verdict("stdlib", f"a check failed: {exc!r}", -1)
    return Verdict("openssl", f"{ssl.OPENSSL_VERSION}, proved", offset)


def require(fact, reason):
    if not fact:
        raise Refusal(reason)


# ---- Python


def check_python():
    """A build of CPython whose objects are laid out as ours."""
    name = sys.implementation.name
    require(name == "cpython", f"{name} is not CPython")
    require(not hasattr(sys, "gettotalrefcount"), "a debug build of Python")
    require(object.__basicsize__ == HEADER_BYTES,
            "objects have another header, as without the GIL")


def known_offset():
    """Where the SSL is, by the version of Python and the size of the object."""
    require(SSL_LAYOUTS, "this version of Python has not been tried")
    size = _ssl._SSLSocket.__basicsize__
    require(size in SSL_LAYOUTS, f"a _ssl._SSLSocket of {size} bytes is not known")
    require(_ssl.MemoryBIO.__basicsize__ >= BIO_OFFSET + 8,
            "the size of _ssl.MemoryBIO is not known")
    return SSL_LAYOUTS[size]


# ---- the library


def check_library():
    """The functions, in the library that `_ssl` has loaded."""
    path = getattr(_ssl, "__file__", None)
    require(path is not None, "_ssl is built into Python")
    missing = libssl.load(path)
    require(missing is None, f"not found among the libraries of _ssl: {missing}")
    require(ssl.OPENSSL_VERSION.startswith("OpenSSL "),
            f"{ssl.OPENSSL_VERSION} is not OpenSSL")
    require(ssl.OPENSSL_VERSION_INFO >= (1, 1, 1),
            f"{ssl.OPENSSL_VERSION} is older than 1.1.1")
    require(libssl.version() == ssl.OPENSSL_VERSION,
            f"another copy of OpenSSL was found: {libssl.version()}")


# ---- the pointers


def check_pointers(offset):
    """On a connection of our own, which has received nonsense."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    raw = context.wrap_bio(incoming, outgoing)._sslobj
    require(type(raw) is _ssl._SSLSocket, "ssl makes another kind of object")
    address = libssl.pointer_in(raw, offset)
    check_memory(address)
    require(libssl.owner_of(address) == id(raw), "the SSL has another owner")
    bios = (libssl.pointer_in(incoming, BIO_OFFSET),
            libssl.pointer_in(outgoing, BIO_OFFSET))
    require(libssl.bios_of(address) == bios, "the SSL has other BIOs")
    check_effects(context, address, incoming)
    check_errors(raw, address, incoming)


def check_memory(address):
    """Is it the address of an SSL of the library that was found? By reading only."""
    try:
        memory = libssl.read_memory(address, SSL_BYTES)
    except OSError as exc:
        raise Refusal(f"the SSL cannot be read: {exc.strerror}") from None
    words = struct.unpack(f"{SSL_BYTES // 8}N", memory)
    require(libssl.client_method() in words, "the pointer is not that of an SSL")


def check_effects(context, address, incoming):
    """What is set through ssl is seen through the pointer, and the other way round."""
    require(libssl.method_of(address) == libssl.client_method(),
            "the SSL is of another library")
    seen = [libssl.verify_mode_of(address)]
    context.verify_mode = ssl.CERT_NONE
    other = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())._sslobj
    offset = known_offset()
    seen.append(libssl.verify_mode_of(libssl.pointer_in(other, offset)))
    require(seen == [VERIFY_REQUIRED, VERIFY_NONE], "the mode of verifying differs")
    bio = libssl.bios_of(address)[0]
    incoming.write(NONSENSE[:5])
    require(libssl.pending_in_bio(bio) == 5, "the BIO does not have what ssl wrote")
    libssl.write_to_bio(bio, NONSENSE[5:])
    require(incoming.pending == len(NONSENSE), "ssl does not see what the BIO has")


# SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT; SSL_VERIFY_NONE.
VERIFY_REQUIRED = 3
VERIFY_NONE = 0


def check_errors(raw, address, incoming):
    """An error of a call through the pointer is raised by the same call of ssl."""
    require(libssl.fail_to_read(address), "the library has another queue of errors")
    try:
        raw.read(1)
    except ssl.SSLError as exc:
        require(exc.reason is not None, "ssl does not tell the error of a direct call")
    else:
        raise Refusal("ssl reads on after an error")
    require(not libssl.has_error(), "ssl has another queue of errors")
