"""Which protocol the first octets are of."""

import pytest

from appliance.wire.sniff import sniff
from tests import hellos

PROTOCOLS = [
    # stream                                    octets that suffice   protocol
    (hellos.client_stream(), 2, "tls"),
    (b"\x16\x03", 2, "tls"),
    (b"\x80\x2e\x01\x00\x02", 3, "tls"),  # SSL 2.0
    (b"\x16\x02\x00", 2, "unknown"),
    (b"\x16\xfe\xfd\x00", 2, "unknown"),  # DTLS
    (b"\x80\x2e\x02", 3, "unknown"),
    (b"SSH-2.0-x\r\n", 4, "ssh"),
    (b"SSL-", 3, "unknown"),
    (b"GET / HTTP/1.1\r\n", 4, "http"),
    (b"OPTIONS * HTTP/1.1\r\n", 8, "http"),
    (b"EHLO example.com\r\n", 1, "unknown"),
    (b"PROXY TCP4 ", 3, "unknown"),
    (b"\x05\x01\x00", 1, "unknown"),  # SOCKS 5
    (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", 1, "unknown"),  # PostgreSQL asking for TLS
]


@pytest.mark.parametrize(("stream", "enough", "protocol"), PROTOCOLS)
def test_protocol_is_told_as_early_as_it_can(stream: bytes, enough: int, protocol: str) -> None:
    """Nothing is said too early, and what has been said does not change."""
    for cut in range(enough):
        assert sniff(stream[:cut]) is None
    for cut in range(enough, len(stream) + 1):
        assert sniff(stream[:cut]) == protocol
