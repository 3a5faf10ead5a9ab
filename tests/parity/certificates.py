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
