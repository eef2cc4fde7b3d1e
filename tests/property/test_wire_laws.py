"""Laws of wire/: cuts are invisible, building then parsing is identity, garbage is malformed or parsed.

The third law is the one that keeps the engine alive: whatever a peer sends, a function of wire/ returns
what its docstring says or raises Malformed with a known reason, and nothing else.
"""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from appliance.address import Ipv4
from appliance.errors import Malformed, PacketError
from appliance.inspection import inspect_server
from appliance.wire import http, ip, sniff, ssh, tls
from appliance.wire.fetch import PATH_MAX, parse_fetch
from appliance.wire.groups import POST_QUANTUM
from appliance.wire.ocsp_request import CERTIFICATES_MAX, NONCE_MAX, parse_ocsp_request
from appliance.wire.stream import Stream
from tests import hellos
from tests.fuzz.harnesses.fetch import check as check_fetch
from tests.outcome import outcome
from tests.playbook import CLIENT_PORT, MD5_OPTION, datagram, ipv4, segment
from tests.test_ocsp import SHA_1, SHA_256, der, get, nonce, post, question

HELLO = hellos.client_stream(hellos.client_hello(grease=True, ech=True))
REPLY = hellos.server_stream()
RETRY_START = 9

# Each takes octets from the start of a direction, and may want more.
FRAMERS: dict[str, tuple[Callable[[bytes], object], list[bytes]]] = {
    "client hello": (tls.frame_client_hello, [HELLO, hellos.client_stream(split=7), b"\x80\x2e\x01"]),
    "second hello": (
        lambda stream: tls.frame_retry(bytes(RETRY_START) + stream, RETRY_START),
        [hellos.CHANGE_CIPHER_SPEC_RECORD + hellos.record(b"early", kind=23) + HELLO],
    ),
    "server reply": (
        tls.frame_server_reply,
        [REPLY, hellos.server_stream(split=9), hellos.alert(2, 40), REPLY + hellos.CHANGE_CIPHER_SPEC_RECORD],
    ),
    "reply after retry": (
        lambda stream: tls.frame_server_reply(stream, after_retry=True),
        [hellos.CHANGE_CIPHER_SPEC_RECORD + REPLY],
    ),
    "SSH client": (ssh.frame_client_identification, [b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n\x00\x00"]),
    "SSH server": (ssh.frame_server_identification, [b"hello\r\nSSH-1.99-OpenSSH_9.2p1\n\x00\x00"]),
    "HTTP request": (http.parse_request, [b"GET / HTTP/1.1\r\nHost: example.com\r\nUser-Agent: x\r\n\r\nbody"]),
    "HTTP status": (http.parse_status, [b"HTTP/1.1 200 OK\r\n"]),
    "HTTP look": (http.looks_like_http, [b"OPTIONS * HTTP/1.1"]),
    "sniff": (sniff.sniff, [HELLO, b"SSH-2.0-x", b"GET /", b"\x80\x2e\x01"]),
}

# Each takes a complete message.
PARSERS: dict[str, tuple[Callable[[bytes], object], list[bytes]]] = {
    "ClientHello": (tls.parse_client_hello, [hellos.client_hello(), hellos.client_hello(grease=True, ech=True)]),
    "ServerHello": (tls.parse_server_hello, [hellos.server_hello(), hellos.hello_retry_request()]),
    "packet": (ip.parse_packet, [ip.render_reset(1, 2, 3, 4, 5, 6)]),
}


@st.composite
def spoilt(draw: st.DrawFn, good: list[bytes]) -> bytes:
    """Something good, of which a few octets are changed, removed, inserted or repeated."""
    octets = bytearray(draw(st.sampled_from(good)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(octets)))
        until = at + draw(st.integers(0, 8))
        octets[at:until] = draw(st.one_of(st.binary(max_size=8), st.just(bytes(octets[at : until + 8]))))
    return bytes(octets) + draw(st.binary(max_size=16))


# ---- garbage ----


@pytest.mark.parametrize("name", [*FRAMERS, *PARSERS])
@given(octets=st.binary(max_size=600))
def test_garbage_is_malformed_or_parsed_never_anything_else(name: str, octets: bytes) -> None:
    """Random octets give a value or a known refusal."""
    outcome({**FRAMERS, **PARSERS}[name][0], octets)


@pytest.mark.parametrize("name", [*FRAMERS, *PARSERS])
@given(data=st.data())
def test_nearly_good_is_malformed_or_parsed_never_anything_else(name: str, data: st.DataObject) -> None:
    """Octets that begin well give a value or a known refusal, wherever they go wrong."""
    function, good = {**FRAMERS, **PARSERS}[name]
    outcome(function, data.draw(spoilt(good)))


@given(octets=st.binary(max_size=80))
@example(octets=b"")
def test_packet_is_refused_as_a_packet(octets: bytes) -> None:
    """What is no packet raises PacketError: the engine tells it from a malformed hello."""
    try:
        packet = ip.parse_packet(b"\x45" + octets)
    except PacketError:
        return
    assert packet.total_length <= len(octets) + 1
    assert len(packet.payload) <= packet.total_length


# ---- cuts ----


@pytest.mark.parametrize("name", FRAMERS)
@given(data=st.data())
def test_cuts_are_invisible(name: str, data: st.DataObject) -> None:
    """Octet by octet, a stream first gives None, then for good what it gives as a whole."""
    function, good = FRAMERS[name]
    stream = data.draw(spoilt(good))
    whole = outcome(function, stream)
    answers = [outcome(function, stream[:cut]) for cut in range(len(stream) + 1)]
    answered = [answer for answer in answers if answer is not None]
    assert all(answer == whole for answer in answered)
    assert answers[len(answers) - len(answered) :] == answered


# ---- building and parsing ----

LABELS = st.from_regex(r"[a-z_]([a-z0-9_-]{0,10}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=5).map(".".join)
NUMBERS = st.integers(0, 0xFFFF)


@given(
    name=st.none() | NAMES,
    root_dot=st.booleans(),
    upper=st.booleans(),
    versions=st.none() | st.lists(NUMBERS, min_size=1, max_size=127),
    legacy_version=st.integers(0x0300, 0x03FF),
    session_id=st.binary(max_size=32),
    cipher_suites=st.lists(NUMBERS, min_size=1, max_size=100),
    protocols=st.lists(st.from_regex(r"[a-z0-9./-]{1,20}", fullmatch=True), max_size=5),
    groups=st.lists(st.tuples(NUMBERS, st.integers(1, 100)), max_size=4),
    ech=st.booleans(),
    split=st.integers(1, 400),
)
def test_hello_built_is_hello_parsed(
    *,
    name: str | None,
    root_dot: bool,
    upper: bool,
    versions: list[int] | None,
    legacy_version: int,
    session_id: bytes,
    cipher_suites: list[int],
    protocols: list[str],
    groups: list[tuple[int, int]],
    ech: bool,
    split: int,
) -> None:
    """Every legal hello comes out as it was put in, over any records."""
    sent = None if name is None else (name.upper() if upper else name) + "." * root_dot
    body = hellos.client_hello(
        sent,
        versions=versions,
        legacy_version=legacy_version,
        session_id=session_id,
        cipher_suites=cipher_suites,
        protocols=[protocol.encode() for protocol in protocols],
        groups=groups,
        ech=ech,
    )
    framed = tls.frame_client_hello(hellos.client_stream(body, split=split))
    assert framed is not None
    hello = tls.parse_client_hello(framed.body)
    assert hello.server_name == name
    assert hello.supported_versions == tuple(versions or ())
    assert hello.legacy_version == legacy_version
    assert hello.session_id == session_id
    assert hello.cipher_suites == tuple(cipher_suites)
    assert hello.alpn == tuple(protocols)
    assert hello.key_share_groups == (tuple(group for group, _ in groups) if groups else None)
    assert hello.offers_ech is ech
    assert hello.best_version in {0, 0x0300, 0x0301, 0x0302, 0x0303, 0x0304}


@given(
    session_id=st.binary(max_size=32),
    cipher_suite=NUMBERS,
    group=st.none() | NUMBERS,
    is_retry=st.booleans(),
    split=st.integers(1, 200),
)
def test_reply_built_is_reply_parsed(
    session_id: bytes, cipher_suite: int, group: int | None, is_retry: bool, split: int
) -> None:
    """Every legal TLS 1.3 reply comes out as it was put in, over any records."""
    random = hellos.RETRY_RANDOM if is_retry else hellos.RANDOM
    body = hellos.server_hello(random=random, session_id=session_id, cipher_suite=cipher_suite, group=group)
    framed = tls.frame_server_reply(hellos.server_stream(body, split=split))
    assert isinstance(framed, tls.Framed)
    assert tls.parse_server_hello(framed.body) == (0x0304, is_retry, cipher_suite, group)


@given(group=st.none() | NUMBERS | st.sampled_from(sorted(POST_QUANTUM)), split=st.integers(1, 200))
def test_keys_are_post_quantum_if_their_group_is_in_the_table(group: int | None, split: int) -> None:
    """Whatever the reply's records; a request to retry agrees on nothing."""
    reply = inspect_server("tls", hellos.server_stream(hellos.server_hello(group=group), split=split))
    assert reply is not None
    assert reply.is_post_quantum is (group in POST_QUANTUM)
    retry = inspect_server("tls", hellos.server_stream(hellos.hello_retry_request(group or 0), split=split))
    assert retry is not None
    assert retry.is_post_quantum is None


@given(
    proto=st.from_regex(r"[0-9]{1,3}\.[0-9]{1,3}", fullmatch=True),
    software=st.from_regex(r"[\x21-\x7e]{1,60}", fullmatch=True),
    comment=st.none() | st.from_regex(r"[\x20-\x7e]{0,60}", fullmatch=True),
    line_end=st.sampled_from(["\n", "\r\n"]),
    before=st.lists(st.from_regex(r"[\t\x1b\x20-\x7e\x80-\xff]{0,80}", fullmatch=True), max_size=ssh.LINES_BEFORE_MAX),
    after=st.binary(max_size=40),
)
def test_identification_built_is_identification_parsed(
    *, proto: str, software: str, comment: str | None, line_end: str, before: list[str], after: bytes
) -> None:
    """Every legal line comes out as it was put in, a server's also behind lines for people."""
    line = (f"SSH-{proto}-{software}" + ("" if comment is None else f" {comment}") + line_end).encode()
    assert ssh.frame_client_identification(line + after) == (proto, software, len(line))
    lines = b"".join(text.encode("latin-1") + b"\r\n" for text in before if not text.startswith("SSH-"))
    assert ssh.frame_server_identification(lines + line + after) == (proto, software, len(lines + line))


HTTP_TEXT = st.from_regex(r"[\x21-\x7e]{1,80}", fullmatch=True)


@given(
    method=st.sampled_from([method.decode() for method in http.METHODS]),
    path=st.from_regex(r"/[\x21-\x7e]{0,80}", fullmatch=True),
    host=HTTP_TEXT,
    user_agent=HTTP_TEXT,
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_request_built_is_request_parsed(*, method: str, path: str, host: str, user_agent: str, line_end: str) -> None:
    """A request comes out as it was put in, but for its query, whatever stands between its fields."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Accept: */*",
        f"HOST:{host}",
        f"user-agent:  {user_agent} ",
        "",
        "Host: body",
    ]
    request = http.parse_request(line_end.join(lines).encode())
    assert request is not None
    assert (request.method, request.host, request.user_agent) == (method, host, user_agent)
    assert "@" in path or request.path == path.partition("?")[0].partition("#")[0]


CRL_REQUEST = b"GET /a%20b.crl HTTP/1.1\r\nHost: crl3.digicert.com\r\nUser-Agent: a/1\r\nConnection: close\r\n\r\n"
PIECES = st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b":",
        b"Host: evil.example.net",
        b"?",
        b"#",
        b"@",
        b"//",
        b"\0",
        b"GET ",
        b"\xff",
    ]
) | st.binary(min_size=1, max_size=3)


@given(edits=st.lists(st.tuples(st.integers(0, len(CRL_REQUEST)), st.integers(0, 3), PIECES), max_size=3))
def test_a_request_for_a_crl_is_read_alike_by_a_lenient_reader(edits: list[tuple[int, int, bytes]]) -> None:
    """However it is edited, it is refused, or says the same to whoever takes any line end and the first Host."""
    stream = CRL_REQUEST
    for at, removed, put in edits:
        stream = stream[:at] + put + stream[at + removed :]
    try:
        strict = parse_fetch(stream)
    except Malformed:
        return
    lenient = http.parse_request(stream)
    assert lenient is not None
    assert (lenient.method, lenient.path, lenient.host.lower()) == ("GET", strict.path, strict.host)
    assert stream.endswith(b"\r\n\r\n")
    assert stream.count(b"\r\n\r\n") == 1


CERT_IDS = st.sampled_from([(SHA_1, 20), (SHA_256, 32)]).flatmap(
    lambda kind: st.tuples(
        st.just(kind[0]),
        st.binary(min_size=kind[1], max_size=kind[1]),
        st.binary(min_size=kind[1], max_size=kind[1]),
        st.integers(0, 2**159 - 1).map(lambda number: number.to_bytes(number.bit_length() // 8 + 1)),
    )
)


@given(
    certificates=st.lists(CERT_IDS, min_size=1, max_size=CERTIFICATES_MAX),
    chosen=st.binary(max_size=NONCE_MAX),
    method=st.sampled_from([get, post]),
)
def test_a_question_built_is_the_question_read(
    certificates: list[tuple[bytes, bytes, bytes, bytes]], chosen: bytes, method: Callable[[bytes], bytes]
) -> None:
    """Whatever is asked; in HTTP as well, unless it is too long for that, or looks like another request."""
    listed = [
        der(0x30, der(0x30, kind, der(4, name), der(4, key), der(2, serial)))
        for kind, name, key, serial in certificates
    ]
    octets = question(*listed, behind=nonce(chosen) if chosen else b"")
    asked = parse_ocsp_request(octets)
    assert asked.nonce == chosen
    assert asked.certificates == tuple(row[1:] for row in certificates)
    try:
        fetch = parse_fetch(method(octets))
    except Malformed:
        assert len(method(octets).split(b" ")[1]) > PATH_MAX or b"GET " in octets.upper() or b"HTTP/" in octets.upper()
    else:
        assert (fetch.path, fetch.is_ocsp) == ("/", True)


@given(edits=st.lists(st.tuples(st.integers(0, len(post())), st.integers(0, 3), PIECES), max_size=3))
def test_a_question_in_http_is_read_alike_by_a_lenient_reader(edits: list[tuple[int, int, bytes]]) -> None:
    """However it is edited: what the harness of the fuzzer compares is the same, or it is refused."""
    stream = post()
    for at, removed, put in edits:
        stream = stream[:at] + put + stream[at + removed :]
    assert check_fetch(stream) in {"question", "awaited", "refused"}


ADDRESSES = st.integers(0, 0xFFFFFFFF).map(Ipv4)
TCP_OPTIONS = (
    st.lists(
        st.sampled_from(
            [b"\x01", b"\x02\x04\x05\xb4", b"\x04\x02", b"\x08\x0a" + bytes(8), b"\x22\x02", MD5_OPTION[:18]]
        ),
        max_size=3,
    )
    .map(b"".join)
    .filter(lambda options: len(options) <= 40)
)  # what a header has room for


@given(
    ends=st.tuples(ADDRESSES, NUMBERS, ADDRESSES, NUMBERS),
    sequence=st.integers(0, 0xFFFFFFFF),
    acknowledgement=st.integers(0, 0xFFFFFFFF),
    payload=st.binary(max_size=60),
    flags=st.integers(0, 255),
    options=TCP_OPTIONS,
    behind=st.binary(max_size=8),
)
def test_segment_built_is_segment_parsed(
    *,
    ends: tuple[Ipv4, int, Ipv4, int],
    sequence: int,
    acknowledgement: int,
    payload: bytes,
    flags: int,
    options: bytes,
    behind: bytes,
) -> None:
    """A segment with whatever options comes out as it was put in; what the copy has behind it is ignored."""
    padded = options + bytes(-len(options) % 4)
    packet = segment(*ends, sequence, acknowledgement, payload, flags=flags, options=padded)
    source, source_port, destination, destination_port = ends
    assert ip.parse_packet(packet + behind) == ip.Packet(
        *(source, destination, ip.TCP, len(packet), 64, payload, source_port, destination_port),
        *(sequence, acknowledgement, flags, 64240, MD5_OPTION[:18] in options),
    )


@given(ends=st.tuples(ADDRESSES, ADDRESSES, NUMBERS), payload=st.binary(max_size=60), protocol=st.integers(0, 255))
def test_other_packets_built_are_packets_parsed(ends: tuple[Ipv4, Ipv4, int], payload: bytes, protocol: int) -> None:
    """A datagram comes out as it was put in, and so does what is neither UDP nor TCP."""
    source, destination, port = ends
    assert ip.parse_packet(datagram(source, destination, port, payload)) == ip.Packet(
        source, destination, ip.UDP, 28 + len(payload), 64, payload, CLIENT_PORT, port
    )
    assume(protocol not in {ip.TCP, ip.UDP})
    assert ip.parse_packet(ipv4(protocol, source, destination, payload)) == ip.Packet(
        source, destination, protocol, 20 + len(payload), 64, payload
    )


@given(
    source=st.integers(0, 0xFFFFFFFF),
    source_port=NUMBERS,
    destination=st.integers(0, 0xFFFFFFFF),
    destination_port=NUMBERS,
    sequence=st.integers(0, 0xFFFFFFFF),
    acknowledgement=st.none() | st.integers(0, 0xFFFFFFFF),
    ttl=st.integers(0, 255),
)
def test_reset_rendered_is_reset_parsed(
    *,
    source: int,
    source_port: int,
    destination: int,
    destination_port: int,
    sequence: int,
    acknowledgement: int | None,
    ttl: int,
) -> None:
    """A reset comes out as it was put in."""
    packet = ip.parse_packet(
        ip.render_reset(source, source_port, destination, destination_port, sequence, acknowledgement, ttl)
    )
    assert packet == (
        source,
        destination,
        ip.TCP,
        40,
        ttl,
        b"",
        source_port,
        destination_port,
        sequence,
        acknowledgement or 0,
        ip.RST if acknowledgement is None else ip.RST | ip.ACK,
        0,
        False,
    )


# ---- reassembly ----

SEGMENTS = st.lists(st.tuples(st.integers(-2, 20), st.binary(max_size=6)), max_size=12)


@given(text=st.binary(min_size=1, max_size=40), data=st.data())
def test_any_order_of_any_pieces_is_the_same_stream(text: bytes, data: st.DataObject) -> None:
    """Pieces that overlap, repeat and come in any order make the text they were cut from."""
    cuts = sorted({0, len(text), *data.draw(st.lists(st.integers(0, len(text)), max_size=6))})
    pieces = [(begin, text[begin : end + data.draw(st.integers(0, 3))]) for begin, end in itertools.pairwise(cuts)]
    stream = Stream(len(text), 64)
    for offset, payload in data.draw(st.permutations(pieces + pieces[:2])):
        stream.feed(offset, payload)
    assert stream.contiguous == text
    assert stream.held == 0


@given(segments=SEGMENTS)
def test_stream_agrees_with_a_map_of_octets(segments: list[tuple[int, bytes]]) -> None:
    """A stream is what a dictionary from offset to octet would be, in which no value may change."""
    stream = Stream(18, 8)
    octets: dict[int, int] = {}
    accepted = 0
    for offset, payload in segments:
        arriving = dict(enumerate(payload, offset))
        conflict = offset < 0 or any(octets.get(at, octet) != octet for at, octet in arriving.items())
        excess = offset + len(payload) > 18 or accepted == 8
        if payload and (conflict or excess):
            with pytest.raises(Malformed) as caught:
                stream.feed(offset, payload)
            assert caught.value.code in {"tcp_conflict", "hello_too_long", "too_many_segments"}
        else:
            stream.feed(offset, payload)
            octets.update(arriving)
            accepted += bool(payload)
        in_order = next(at for at in range(20) if at not in octets)
        assert stream.contiguous == bytes(octets[at] for at in range(in_order))
        assert stream.held == len(octets) - in_order
