"""Parsers of hellos and packets written a second time: slowly, and straight from the RFCs.

Nothing of the code under test is used, and nothing is shared with it: where the two disagree, one is wrong. A refusal
is a ValueError, whatever the reason.
"""

import struct
from typing import NamedTuple

ECH_TYPES = {0xFE0D, 0xFFCE}
NAME_CHARACTERS = set(b"abcdefghijklmnopqrstuvwxyz0123456789_-")
RETRY = "cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c"


class Disagreeable(ValueError):
    """Octets that nobody should accept."""


def want(condition: object) -> None:
    if not condition:
        raise Disagreeable


class Octets:
    """Takes octets from the front of what is left."""

    def __init__(self, octets: bytes) -> None:
        self.left = octets

    def take(self, size: int) -> bytes:
        want(size <= len(self.left))
        taken, self.left = self.left[:size], self.left[size:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> "Octets":
        return Octets(self.take(self.number(size)))

    def numbers(self) -> tuple[int, ...]:
        want(self.left and len(self.left) % 2 == 0)
        return tuple(self.number(2) for _ in range(len(self.left) // 2))

    def end(self) -> None:
        want(not self.left)


def extensions(rest: Octets) -> dict[int, bytes]:
    """RFC 8446 section 4.2; a hello that ends before them is legal up to TLS 1.2."""
    found: dict[int, bytes] = {}
    if rest.left:
        block = rest.vector(2)
        rest.end()
        while block.left:
            kind = block.number(2)
            want(kind not in found)
            found[kind] = block.vector(2).left
    return found


class Hello(NamedTuple):
    legacy_version: int
    supported_versions: tuple[int, ...]
    server_name: str | None
    alpn: tuple[bytes, ...]
    offers_ech: bool
    extensions: tuple[int, ...]
    cipher_suites: tuple[int, ...]
    session_id: bytes
    key_share_groups: tuple[int, ...] | None


def client_hello(body: bytes) -> Hello:
    """RFC 8446 section 4.1.2, RFC 6066 section 3, RFC 7301 section 3.1."""
    octets = Octets(body)
    version = octets.number(2)
    want(version // 256 == 3)
    octets.take(32)
    session_id = octets.vector(1).left
    want(len(session_id) <= 32)
    suites = octets.vector(2).numbers()
    want(0 in octets.vector(1).left)
    found = extensions(octets)

    versions: tuple[int, ...] = ()
    if 43 in found:
        extension = Octets(found[43])
        versions = extension.vector(1).numbers()
        extension.end()
    alpn = []
    if 16 in found:
        extension = Octets(found[16])
        protocols = extension.vector(2)
        extension.end()
        want(protocols.left)
        while protocols.left:
            alpn.append(protocols.vector(1).left)
            want(alpn[-1])
    groups: list[int] | None = None
    if 51 in found:
        groups = []
        extension = Octets(found[51])
        shares = extension.vector(2)
        extension.end()
        while shares.left:
            groups.append(shares.number(2))
            want(shares.vector(2).left)
    return Hello(
        version,
        versions,
        server_name(found[0]) if 0 in found else None,
        tuple(alpn),
        bool(ECH_TYPES & found.keys()),
        tuple(found),
        suites,
        session_id,
        None if groups is None else tuple(groups),
    )


def server_name(content: bytes) -> str:
    """RFC 6066 section 3: one name, of type host_name, that is no IPv4 address to anybody."""
    extension = Octets(content)
    names = extension.vector(2)
    extension.end()
    want(names.number(1) == 0)
    name = names.vector(2).left.lower()
    names.end()
    if name.endswith(b"."):
        name = name[:-1]
    want(len(name) <= 253)
    labels = name.split(b".")
    for label in labels:
        want(1 <= len(label) <= 63 and set(label) <= NAME_CHARACTERS)
    last = labels[-1].decode()
    want(not last.isdigit())
    want(not (last.startswith("0x") and set(last[2:]) <= set("0123456789abcdef")))
    return ".".join(label.decode() for label in labels)


def server_hello(body: bytes) -> tuple[int, bool, int, int | None]:
    """RFC 8446 sections 4.1.3, 4.1.4, 4.2.1 and 4.2.8: version, retry or not, cipher suite, group."""
    octets = Octets(body)
    version = octets.number(2)
    is_retry = octets.take(32).hex() == RETRY
    want(len(octets.vector(1).left) <= 32)
    suite = octets.number(2)
    want(octets.number(1) == 0)
    found = extensions(octets)
    if 43 not in found:
        want(version in {0x0300, 0x0301, 0x0302, 0x0303})
        want(not is_retry)
        return version, False, suite, None
    want(found[43] == b"\x03\x04")
    want(version == 0x0303)
    if 51 not in found:
        return 0x0304, is_retry, suite, None
    share = Octets(found[51])
    group = share.number(2)
    if not is_retry:
        want(share.vector(2).left)
    share.end()
    return 0x0304, is_retry, suite, group


class Segment(NamedTuple):
    """A packet; what is above IP is None where it is neither TCP nor UDP."""

    source: int
    destination: int
    protocol: int
    total_length: int
    ttl: int
    payload: bytes
    ports: tuple[int, int] | None
    numbers: tuple[int, int] | None
    flags: int
    window: int
    is_signed: bool


def packet(octets: bytes) -> Segment:
    """RFC 791 section 3.1, RFC 9293 section 3.1, RFC 768; no fragments and no options of IP."""
    want(len(octets) >= 20)
    want(octets[0] == 0x45)
    total = octets[2] * 256 + octets[3]
    want(20 <= total <= len(octets))
    want(octets[6] & 0b00111111 == 0)  # more fragments, or an offset
    want(octets[7] == 0)
    source, destination = struct.unpack("!II", octets[12:20])
    content = Octets(octets[20:total])
    facts = (source, destination, octets[9], total, octets[8])
    if octets[9] == 17:
        ports = content.number(2), content.number(2)
        length = content.number(2)
        content.take(2)
        want(length >= 8)
        return Segment(*facts, content.take(length - 8), ports, None, 0, 0, is_signed=False)
    if octets[9] != 6:
        return Segment(*facts, content.left, None, None, 0, 0, is_signed=False)
    ports = content.number(2), content.number(2)
    numbers = content.number(4), content.number(4)
    header = content.number(1) // 16 * 4
    flags, window = content.number(1), content.number(2)
    content.take(4)
    want(header >= 20)
    options = Octets(content.take(header - 20))
    kinds = set()
    while options.left:
        kind = options.number(1)
        if kind == 0:
            break
        if kind != 1:
            size = options.number(1)
            want(size >= 2)
            options.take(size - 2)
        kinds.add(kind)
    return Segment(*facts, content.left, ports, numbers, flags, window, bool(kinds & {19, 29}))
