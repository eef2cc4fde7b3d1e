"""TLS as OpenSSL speaks it, in both directions; version names."""

from pathlib import Path

import pytest

from appliance.wire import tls
from tests import hellos
from tests.hellos import CHANGE_CIPHER_SPEC_RECORD, NAME, P384, TLS_1_0, TLS_1_1, TLS_1_2, TLS_1_3, X25519


@pytest.mark.parametrize(
    ("version", "name"),
    [(0x0300, "SSL 3.0"), (TLS_1_0, "TLS 1.0"), (TLS_1_2, "TLS 1.2"), (TLS_1_3, "TLS 1.3"), (0, "0x0000")],
)
def test_versions_have_their_usual_names(version: int, name: str) -> None:
    """A version reads as people write it; one that does not exist as its number."""
    assert tls.version_name(version) == name


# ---- the real thing ----


@pytest.mark.parametrize(
    ("oldest", "newest"), [(TLS_1_2, TLS_1_3), (TLS_1_2, TLS_1_2), (TLS_1_3, TLS_1_3), (TLS_1_0, TLS_1_1)]
)
@pytest.mark.parametrize("name", [NAME, None])
def test_hello_of_openssl_is_read(oldest: int, newest: int, name: str | None) -> None:
    """What OpenSSL sends is read: name, versions and ALPN are those it was told."""
    context = hellos.tls_context(oldest=oldest, newest=newest, protocols=["h2", "http/1.1"])
    stream = hellos.captured_client_stream(context, name=name)
    framed = tls.frame_client_hello(stream)
    assert framed is not None
    assert framed.end == len(stream)
    hello = tls.parse_client_hello(framed.body)
    assert (hello.server_name, hello.best_version, hello.alpn) == (name, newest, ("h2", "http/1.1"))
    assert not hello.offers_ech


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hellos.make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.mark.subprocesses
@pytest.mark.parametrize("version", [TLS_1_0, TLS_1_1, TLS_1_2, TLS_1_3])
def test_reply_of_openssl_is_read(certificate: Path, version: int) -> None:
    """What an OpenSSL server replies is read, in every version of TLS."""
    server = hellos.tls_context(oldest=TLS_1_0, newest=version, certificate=certificate)
    _, (reply, *_) = hellos.captured_handshake(hellos.tls_context(oldest=TLS_1_0), server)
    framed = tls.frame_server_reply(reply)
    assert isinstance(framed, tls.Framed)
    hello = tls.parse_server_hello(framed.body)
    assert (hello.version, hello.is_retry) == (version, False)
    assert hello.key_share_group == (X25519 if version == TLS_1_3 else None)


@pytest.mark.subprocesses
def test_retry_of_openssl_is_followed_to_its_end(certificate: Path) -> None:
    """A server that insists on another group asks for a second hello; both replies and hellos are read."""
    server = hellos.tls_context(curve="secp384r1", certificate=certificate)
    flights, replies = hellos.captured_handshake(hellos.tls_context(), server)

    request = tls.frame_server_reply(replies[0])
    assert isinstance(request, tls.Framed)
    assert tls.parse_server_hello(request.body) == (TLS_1_3, True, 0x1302, P384)

    first = tls.frame_client_hello(flights[0])
    assert first is not None
    assert flights[1].startswith(CHANGE_CIPHER_SPEC_RECORD)
    second = tls.frame_retry(flights[0] + flights[1], first.end)
    assert second is not None
    hello = tls.parse_client_hello(second.body)
    assert (hello.server_name, hello.key_share_groups) == (NAME, (P384,))

    reply = tls.frame_server_reply((replies[0] + replies[1])[request.end :], after_retry=True)
    assert isinstance(reply, tls.Framed)
    assert tls.parse_server_hello(reply.body) == (TLS_1_3, False, 0x1302, P384)


@pytest.mark.subprocesses
def test_refusal_of_openssl_is_read(certificate: Path) -> None:
    """A server that finds no common version says so with an alert."""
    server = hellos.tls_context(oldest=TLS_1_3, certificate=certificate)
    client = hellos.tls_context(newest=TLS_1_2)
    _, (reply, *_) = hellos.captured_handshake(client, server)
    alert = tls.frame_server_reply(reply)
    assert isinstance(alert, tls.Alert)
    assert (alert.name, alert.is_warning) == ("protocol_version", False)
