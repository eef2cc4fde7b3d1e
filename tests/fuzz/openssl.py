"""OpenSSL's opinion: what a real server makes of the octets that a client sends first."""

import contextlib
import ssl
import warnings


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # without a certificate: none is needed as far as it gets
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the more it accepts, the more there is to compare
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.sni_callback = _hear
    return context


_heard: list[str | None] = []


def _hear(_connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int:
    _heard.append(name)
    return ssl.ALERT_DESCRIPTION_ACCESS_DENIED  # that is all there is to know


_CONTEXT = _context()


def names_seen(stream: bytes) -> list[str | None]:
    """Return the names that an OpenSSL server acts on, in lower case, without a root dot; None for a hello without."""
    _heard.clear()
    incoming = ssl.MemoryBIO()
    incoming.write(stream)
    server = _CONTEXT.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True)
    with contextlib.suppress(ssl.SSLError):  # it wants more, refuses, or was told to
        server.do_handshake()
    return [None if name is None else name.lower().removesuffix(".") for name in _heard]
