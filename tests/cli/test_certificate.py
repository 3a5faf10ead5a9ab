"""The certificate of the self-test is one that OpenSSL accepts, for its name only."""

import ssl

import pytest

from uring_loop.cli import certificate


def shake_hands(name):
    """A handshake in memory with a server that has a certificate for localhost."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.create_default_context(
        cadata=certificate.load_into(server, "localhost"))
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(down, up, server_hostname=name),
            server.wrap_bio(up, down, server_side=True)]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
    return ends[0]


def test_it_is_accepted_for_its_name():
    assert shake_hands("localhost").getpeercert()["subjectAltName"] == (
        ("DNS", "localhost"),)


def test_it_is_refused_for_another_name():
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands("elsewhere")


def test_each_has_a_key_of_its_own():
    assert certificate.self_signed("a")[0] != certificate.self_signed("a")[0]
