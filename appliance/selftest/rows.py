"""The rows of the self-test: the part of the catalogue of attacks that harms nobody.

Each sends hellos at most, and what an ordinary server answers: silence can be told from an answer then. What is left
out would flood, wants a server that plays along, or looks the same from here whether it was stopped or not.
`tests/test_selftest.py` holds marks and codes against `tests/attacks/`. Everything here is pure.
"""

from collections.abc import Callable

from appliance.reason import Reason
from appliance.selftest.hellos import (
    P256,
    P384,
    TLS_1_0,
    TLS_1_1,
    X25519,
    X25519MLKEM768,
    block,
    client_hello,
    client_stream,
    extension,
    handshake,
    key_share,
    numbers,
    records,
    server_name,
)
from appliance.selftest.row import Piece, Row, Way
from appliance.selftest.segments import dns_question, quic_greeting

UNLISTED = "unlisted.invalid"  # RFC 6761 section 6.4: nobody's, ever
HALF = 150  # octets of a hello, so that its name is among them unless it is very long
SSH_HELLO = b"SSH-2.0-discriminat_selftest\r\n"  # what an honest client says

_SUITES = (0x1301, 0x1302, 0x1303, 0xC02B, 0xC02C, 0xC02F, 0xC030)
_SIGNATURES = extension(13, block(numbers((0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501))))
_GROUPS = extension(10, block(numbers((X25519, P256, P384))))
_ESNI = extension(0xFFCE, bytes(64))
# RFC 5246 appendix E.2: a hello of SSL 2.0 that offers TLS 1.0, and seven ciphers.
_SSLV2 = bytes((0x80, 0x2E, 1, 3, 1, 0, 21, 0, 0, 0, 16)) + bytes(37)


def hello(name: str | bytes | None, *, extra: bytes = b"", **options: object) -> bytes:
    """Return a hello that an ordinary server answers; `options` as of hellos.client_hello."""
    body = client_hello(name, cipher_suites=_SUITES, extra=_SIGNATURES + extra, **options)  # type: ignore[arg-type]
    return client_stream(body)


def _one(build: Callable[[str], bytes]) -> Callable[[str], tuple[Piece, ...]]:
    return lambda name: (Piece(build(name)),)


def _cut(octets: bytes, size: int) -> tuple[Piece, ...]:
    return tuple(Piece(octets[at : at + size], at) for at in range(0, len(octets), size))


def _fixed(octets: bytes) -> Callable[[str], tuple[Piece, ...]]:
    return lambda _: (Piece(octets),)


def _none(_: str) -> tuple[Piece, ...]:
    return ()


def _twin(name: str) -> str:
    """Return another name of the same length."""
    return ("y" if name[0] == "x" else "x") + name[1:]


def _in_records(name: str) -> bytes:
    body = client_hello(name, cipher_suites=_SUITES, extra=_SIGNATURES)
    return records(handshake(1, body), split=40)


def _two_hellos(name: str) -> tuple[Piece, ...]:
    """A hello without a key, which a server of TLS 1.3 wants again with one, and a second one for another name."""
    without, key = _GROUPS + key_share(), _GROUPS + key_share((X25519, 32))
    first = hello(name, groups=(), extra=without, session_id=b"")
    return Piece(first), Piece(hello(UNLISTED, groups=(), extra=key, session_id=b""), len(first))


HONEST = (
    Row(
        mark="T1",
        tried="a hello in segments of 150 octets",
        pieces=lambda name: _cut(hello(name), HALF),
        must_pass=True,
    ),
    Row(
        mark="T1",
        tried="a hello with a post-quantum key, of 1.7 kB",
        pieces=_one(lambda name: hello(name, groups=((X25519MLKEM768, 1216), (X25519, 32)))),
        must_pass=True,
    ),
    Row(mark="T2", tried="a hello in records of 40 octets", pieces=_one(_in_records), must_pass=True),
    Row(mark="T3", tried="a hello octet by octet", pieces=lambda name: _cut(hello(name), 1), must_pass=True),
    Row(mark="N12", tried="the name in upper case", pieces=_one(lambda name: hello(name.upper())), must_pass=True),
    Row(
        mark="P10",
        tried="the hello on the handshake's last segment",
        pieces=_one(hello),
        way=Way.HANDSHAKE,
        must_pass=True,
    ),
)

NAMES = (
    Row(
        mark="N1",
        tried="the listed name at the other host's address",
        pieces=_one(hello),
        way=Way.OTHER,
        code=Reason.ADDRESS_MISMATCH,
    ),
    Row(mark="N2", tried="another name", pieces=_fixed(hello(UNLISTED)), code=Reason.NAME_NOT_LISTED),
    Row(
        mark="N4",
        tried="a proxy's CONNECT",
        pieces=_one(lambda name: f"CONNECT {name}:443 HTTP/1.1\r\nHost: {name}:443\r\n\r\n".encode()),
        code=Reason.HTTP_PLAINTEXT,
    ),
    Row(mark="N5", tried="no name", pieces=_fixed(hello(None)), code=Reason.NO_SNI),
    Row(mark="N6", tried="an empty name", pieces=_fixed(hello("")), code=Reason.SNI_EMPTY),
    Row(
        mark="N7",
        tried="two names in one list",
        pieces=_one(lambda name: hello(None, extra=server_name(name, UNLISTED))),
        code=Reason.SNI_MULTIPLE,
    ),
    Row(
        mark="N8",
        tried="two server_name extensions",
        pieces=_one(lambda name: hello(name, extra=server_name(UNLISTED))),
        code=Reason.EXT_DUPLICATE,
    ),
    Row(
        mark="N9",
        tried="a name of an unknown type before the listed one",
        pieces=_one(lambda name: hello(None, extra=server_name(UNLISTED, name, kinds=(7, 0)))),
        code=Reason.SNI_MULTIPLE,
    ),
    Row(
        mark="N10",
        tried="a list of names that is longer than it says",
        pieces=_one(lambda name: hello(None, extra=server_name(name, list_lie=-1))),
        code=Reason.MALFORMED,
    ),
    Row(
        mark="N10",
        tried="octets behind the extensions",
        pieces=_one(lambda name: hello(name, tail=b"\0")),
        code=Reason.MALFORMED,
    ),
    Row(
        mark="N11",
        tried="NUL and another name behind the listed one",
        pieces=_one(lambda name: hello(f"{name}\0.{UNLISTED}")),
        code=Reason.SNI_BAD_CHARS,
    ),
    Row(
        mark="N12",
        tried="two dots behind the name",
        pieces=_one(lambda name: hello(f"{name}..")),
        code=Reason.SNI_BAD_CHARS,
    ),
    Row(
        mark="N13",
        tried="UTF-8 in the name",
        pieces=_one(lambda name: hello(f"\N{LATIN SMALL LETTER A WITH DIAERESIS}{name}".encode())),
        code=Reason.SNI_BAD_CHARS,
    ),
    Row(
        mark="N14",
        tried="a name of 304 octets",
        pieces=_fixed(hello(".".join(["a" * 60] * 5))),
        code=Reason.SNI_TOO_LONG,
    ),
    Row(mark="N15", tried="an address as name", pieces=_fixed(hello("203.0.113.10")), code=Reason.SNI_IP_LITERAL),
    Row(
        mark="N16",
        tried="a name that begins with the listed one",
        pieces=_one(lambda name: hello(f"{name}.invalid")),
        code=Reason.NAME_NOT_LISTED,
    ),
    Row(
        mark="N16",
        tried="a name that ends like the listed one",
        pieces=_one(lambda name: hello(f"not-{name}")),
        code=Reason.NAME_NOT_LISTED,
    ),
    Row(
        mark="N17",
        tried="a port in the name",
        pieces=_one(lambda name: hello(f"{name}:443")),
        code=Reason.SNI_BAD_CHARS,
    ),
)

TLS = (
    Row(
        mark="T4",
        tried="another name in a second hello that was asked for",
        pieces=_two_hellos,
        way=Way.ON_RETRY,
        code=Reason.HELLO_NAME_CHANGED,
    ),
    Row(
        mark="T4",
        tried="another name in a second hello that was not",
        pieces=_one(lambda name: hello(name) + hello(UNLISTED)),
        code=Reason.MALFORMED,
    ),
    Row(mark="T5", tried="Encrypted Client Hello", pieces=_one(lambda name: hello(name, ech=True)), code=Reason.ECH),
    Row(mark="T5", tried="encrypted name (ESNI)", pieces=_one(lambda name: hello(name, extra=_ESNI)), code=Reason.ECH),
    Row(
        mark="T6",
        tried="nothing newer than TLS 1.1",
        pieces=_one(lambda name: hello(name, versions=None, legacy_version=TLS_1_1)),
        code=Reason.TLS_TOO_OLD,
    ),
    Row(
        mark="T6",
        tried="TLS 1.0 in the list of versions, 1.2 beside it",
        pieces=_one(lambda name: hello(name, versions=(TLS_1_0,))),
        code=Reason.TLS_TOO_OLD,
    ),
    Row(mark="T7", tried="a hello of SSL 2.0", pieces=_fixed(_SSLV2), code=Reason.SSLV2_HELLO),
    Row(
        mark="T11",
        tried="plaintext HTTP",
        pieces=_one(lambda name: f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode()),
        code=Reason.HTTP_PLAINTEXT,
    ),
    Row(mark="T11", tried="SSH", pieces=_fixed(SSH_HELLO), code=Reason.NOT_TLS),
    Row(mark="T11", tried="SOCKS", pieces=_fixed(b"\x05\x08" + bytes(range(8))), code=Reason.NOT_TLS),
    Row(
        mark="T11",
        tried="a PROXY line",
        pieces=_fixed(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n"),
        code=Reason.NOT_TLS,
    ),
)

PACKETS = (
    Row(
        mark="P1",
        tried="half a hello, then a whole one with another name",
        pieces=lambda name: (Piece(hello(name)[:HALF]), Piece(hello(_twin(name)))),
        way=Way.INJECTED,
        code=Reason.TCP_CONFLICT,
    ),
    Row(
        mark="P1",
        tried="the second half of a hello, then a whole one that differs",
        pieces=lambda name: (Piece(hello(name)[HALF:], HALF), Piece(hello(name)[:HALF] + bytes(20))),
        way=Way.INJECTED,
        code=Reason.TCP_CONFLICT,
    ),
    Row(
        mark="P4",
        tried="a decoy with a bad checksum, then another name",
        pieces=lambda name: (Piece(hello(name), checksum_lie=1), Piece(hello(UNLISTED))),
        way=Way.INJECTED,
        code=Reason.NAME_NOT_LISTED,
    ),
    Row(
        mark="P5",
        tried="a decoy far out of the window, then another name",
        pieces=lambda name: (Piece(hello(name), 1 << 30), Piece(hello(UNLISTED))),
        way=Way.INJECTED,
        code=Reason.NAME_NOT_LISTED,
    ),
    Row(
        mark="P7",
        tried="a hello and one urgent octet",
        pieces=_one(lambda name: hello(name) + b"\0"),  # the last one is urgent; a server's stream lacks it
        way=Way.URGENT,
        code=Reason.URGENT_DATA,
    ),
    Row(mark="P9", tried="the hello in the SYN", pieces=_one(hello), way=Way.SYN, code=Reason.SYN_DATA),
    Row(mark="P12", tried="IP options", pieces=_one(hello), way=Way.IP_OPTIONS, code=Reason.IP_OPTIONS),
    Row(mark="P13", tried="IPv6", pieces=_none, way=Way.IPV6),
    Row(mark="P19", tried="six octets of padding", pieces=_fixed(bytes(6)), code=Reason.NOT_TLS),
)

PROTOCOLS = (
    Row(
        mark="D6",
        tried="DNS, asked of the host (UDP 53)",
        pieces=_one(dns_question),
        way=Way.DNS,
        code=Reason.PROTOCOL_NOT_SUPPORTED,
    ),
    Row(
        mark="X6",
        tried="ICMP echo",
        pieces=_none,
        way=Way.ECHO,
        code=Reason.PROTOCOL_NOT_SUPPORTED,
    ),
    Row(mark="X7", tried="QUIC (UDP 443)", pieces=_fixed(quic_greeting()), way=Way.QUIC, code=Reason.QUIC),
    Row(mark="X9", tried="TLS to an SSH host", pieces=_one(hello), way=Way.SSH, code=Reason.NOT_SSH),
    Row(
        mark="X9",
        tried="HTTP to an SSH host",
        pieces=_one(lambda name: f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode()),
        way=Way.SSH,
        code=Reason.NOT_SSH,
    ),
    Row(mark="X9", tried="SSH 1.5", pieces=_fixed(b"SSH-1.5-discriminat\r\n"), way=Way.SSH, code=Reason.SSH_TOO_OLD),
)

ROWS = HONEST + NAMES + TLS + PACKETS + PROTOCOLS
