"""What passes in plaintext: whatever is taken, a lenient reader of HTTP and another maker's of DER read alike."""

import base64
import itertools
from urllib.parse import unquote_to_bytes

from cryptography.x509 import ocsp

from appliance.wire import http
from appliance.wire.fetch import REQUEST_MAX, Fetch, awaits_body, parse_fetch
from appliance.wire.ocsp_request import OCTETS_MAX, CertId, OcspRequest, parse_ocsp_request
from tests.outcome import Refusal, neighbours, outcome

MAX = 2100
WORDS = (
    *(b"GET /", b"POST /", b" HTTP/1.1\r\nHost: ", b".crl", b"%2B", b"%2f", b"%3D", b"\r\n", b"\r\n\r\n"),
    *(b"Content-Type: application/ocsp-request\r\n", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n"),
    *(bytes.fromhex("06052b0e03021a0500"), bytes.fromhex("06096086480165030402010500")),
    *(bytes.fromhex("06092b0601050507300102"), b"\x30\x81", b"\x30\x82", b"\xa2", b"\x04\x14", b"\x02\x01"),
)


def check(octets: bytes) -> str:
    """Octets are a client's direction, or, where they begin as DER does, a question alone."""
    if octets.startswith(b"\x30"):
        asked = outcome(parse_ocsp_request, octets)
        if not isinstance(asked, OcspRequest):
            return "not_asked"
        _compare_question(octets, asked)
        return "asked"
    fetch = outcome(parse_fetch, octets)
    if isinstance(fetch, Refusal):
        assert fetch.code == "http_plaintext"
        return "awaited" if awaits_body(octets) else "refused"
    assert isinstance(fetch, Fetch)
    assert not awaits_body(octets)
    assert len(octets) <= REQUEST_MAX
    _compare(octets, fetch)
    for other in (octets[:-1], octets + b"x", octets * 2):
        assert isinstance(outcome(parse_fetch, other), Refusal)
    return "question" if fetch.is_ocsp else "list"


def _compare(octets: bytes, fetch: Fetch) -> None:
    """What a lenient reader makes of a request is the same, and where it ends, too."""
    head, _, body = octets.partition(b"\r\n\r\n")
    request = http.parse_request(octets)
    assert request is not None
    assert request.host.lower() == fetch.host
    assert request.path.startswith(fetch.path.rstrip("/"))
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
    assert len(body) == int(fields.get(b"content-length", b"0"))
    if not fetch.is_ocsp:
        assert (request.method, request.path) == ("GET", fetch.path)
    elif request.method == "GET":
        body = base64.b64decode(unquote_to_bytes(request.path[len(fetch.path) :]), validate=True)
    if body:
        asked = parse_ocsp_request(body)
        _compare_question(body, asked)


def _compare_question(octets: bytes, asked: OcspRequest) -> None:
    """Nothing is in a question but what was read of it; what differs in one place asks something else, or nothing."""
    assert len(octets) <= OCTETS_MAX
    parameters = itertools.product((b"", b"\x05\0"), repeat=len(asked.certificates))
    assert octets in [_write(asked, each) for each in parameters]
    assert all(outcome(parse_ocsp_request, each) != asked for each in neighbours(octets))
    if len(asked.certificates) == 1:  # of more, it reads none
        other = ocsp.load_der_ocsp_request(octets)
        (first,) = asked.certificates
        assert (other.issuer_name_hash, other.issuer_key_hash) == (first.name_hash, first.key_hash)
        assert other.serial_number == int.from_bytes(first.serial)


def _write(asked: OcspRequest, parameters: tuple[bytes, ...]) -> bytes:
    """Return a question in DER. `parameters`: of each algorithm."""
    listed = b"".join(map(_write_certificate, asked.certificates, parameters))
    nonce = _der(0x30, bytes.fromhex("06092b0601050507300102"), _der(4, _der(4, asked.nonce)))
    extensions = _der(0xA2, _der(0x30, nonce)) if asked.nonce else b""
    return _der(0x30, _der(0x30, _der(0x30, listed), extensions))


def _write_certificate(certificate: CertId, parameters: bytes) -> bytes:
    algorithm = {20: "06052b0e03021a", 32: "0609608648016503040201"}[len(certificate.name_hash)]
    hashes = _der(4, certificate.name_hash) + _der(4, certificate.key_hash)
    return _der(0x30, _der(0x30, _der(0x30, bytes.fromhex(algorithm), parameters), hashes, _der(2, certificate.serial)))


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    wide = b"" if size < 128 else b"\x81" if size < 256 else b"\x82"
    return bytes((tag,)) + wide + size.to_bytes(max(len(wide) and wide[0] - 0x80, 1)) + content
