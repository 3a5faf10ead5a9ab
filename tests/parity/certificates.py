"""Contexts for TLS between the two ends of a test: an authority made on the spot."""

import functools
import ssl

import trustme

NAME = "parity.example"


@functools.lru_cache(maxsize=None)
def authority():
    return trustme.CA()


@functools.lru_cache(maxsize=None)
def server_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(NAME).configure_cert(context)
    return context


@functools.lru_cache(maxsize=None)
def client_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    return context


@functools.lru_cache(maxsize=None)
def distrusting_context():
    """Knows no authority at all."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def server_context_for_clients():
    """Wants a certificate of the client; speaks two application protocols."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(NAME).configure_cert(context)
    authority().configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["second", "first"])
    return context


def client_context_with_certificate():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    authority().issue_cert("client.example").configure_cert(context)
    context.set_alpn_protocols(["first", "second"])
    return context
