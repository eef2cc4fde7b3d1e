"""A question to an OCSP responder: which certificates' status is asked for, and nothing beside it.

Source: RFC 6960 section 4.1.1 (the syntax) and appendix A.1 (by GET), RFC 5019 section 2.1 (as clients keep it), RFC
9654 section 2.1 (the nonce), X.690 section 10.1 (DER: one encoding for each value).
Read strictly, so that there is one spelling of each question: no version, no requestor's name, no signature and no
extension but the nonce. What is left for a sender to choose are the hashes of issuers, serial numbers and the nonce, of
lengths that are bounded. Nobody can tell whether they are those of a certificate.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from appliance.errors import Malformed
from appliance.wire.reader import Reader

OCTETS_MAX: Final = 512  # of a request; ours. Real ones have 70 to 130 for each certificate
CERTIFICATES_MAX: Final = 4  # in a request; ours. Clients ask for one, or for those of a chain
SERIAL_MAX: Final = 20  # octets: RFC 5280 section 4.1.2.2
NONCE_MAX: Final = 32  # octets: what RFC 9654 advises; it lets 128 pass, which no client needs
WORDS_MAX: Final = 3  # parts of the path before a request in it, such as /s/we1/abc/

_CODE: Final = "http_plaintext"
_INTEGER, _OCTET_STRING, _SEQUENCE = 0x02, 0x04, 0x30
_EXTENSIONS: Final = 0xA2  # requestExtensions [2]
_LONG, _LONG_1, _LONG_2 = 0x80, 0x81, 0x82  # lengths of more than 127 octets, in one and in two

# AlgorithmIdentifiers, with and without NULL for their parameters, and how many octets their hashes have.
_HASHES: Final = {
    bytes.fromhex("06052b0e03021a0500"): 20,  # SHA-1
    bytes.fromhex("06052b0e03021a"): 20,
    bytes.fromhex("06096086480165030402010500"): 32,  # SHA-256
    bytes.fromhex("0609608648016503040201"): 32,
}
_NONCE: Final = bytes.fromhex("06092b0601050507300102")  # id-pkix-ocsp-nonce

_WORD: Final = re.compile(rb"[A-Za-z0-9_-]{1,64}", re.ASCII)
_BASE64: Final = re.compile(rb"(?:[A-Za-z0-9+/=]|%2[BbFf]|%3[Dd])+", re.ASCII)
_ESCAPES: Final = ((b"%2B", b"+"), (b"%2b", b"+"), (b"%2F", b"/"), (b"%2f", b"/"), (b"%3D", b"="), (b"%3d", b"="))


class CertId(NamedTuple):
    """Whose status is asked for: hashes of the issuer's name and key, and the serial number's octets."""

    name_hash: bytes
    key_hash: bytes
    serial: bytes


@dataclass(frozen=True, slots=True)
class OcspRequest:
    """What is asked. `nonce`: empty if there is none."""

    certificates: tuple[CertId, ...]
    nonce: bytes


def parse_ocsp_request(octets: bytes) -> OcspRequest:
    """Return what an OCSPRequest in DER asks.

    Raises:
        Malformed: with code `http_plaintext`: it is no such question, or more than one.
    """
    if len(octets) > OCTETS_MAX:
        raise Malformed(f"{len(octets)} octets, an OCSP request has {OCTETS_MAX} at most", code=_CODE)
    whole = Reader(octets, _CODE)
    request = _inside(whole, _SEQUENCE, "OCSPRequest")
    whole.finish("an OCSP request")
    tbs = _inside(request, _SEQUENCE, "tbsRequest")
    request.finish("OCSPRequest")
    listed = _inside(tbs, _SEQUENCE, "requestList")
    certificates: list[CertId] = []
    while listed.left:
        if len(certificates) == CERTIFICATES_MAX:
            raise listed.fault(f"an OCSP request is for {CERTIFICATES_MAX} certificates at most")
        certificates.append(_cert_id(listed))
    if not certificates:
        raise listed.fault("an OCSP request for no certificate")
    nonce = _nonce(_inside(tbs, _EXTENSIONS, "requestExtensions")) if tbs.left else b""
    tbs.finish("tbsRequest")
    return OcspRequest(tuple(certificates), nonce)


def find_ocsp_request(target: bytes) -> str:
    """Return what stands before the OCSP request that is the last part of a path, such as `/` or `/ocsp/`.

    The request is in base64, whose `+`, `/` and `=` may be escaped. As it may hold slashes itself, it begins at the
    first one behind which there is a request.

    Raises:
        Malformed: with code `http_plaintext`: there is none.
    """
    at = 0
    for _ in range(WORDS_MAX + 1 if target.startswith(b"/") else 0):
        if _is_request(target[at + 1 :]):
            return target[: at + 1].decode("ascii")
        end = target.find(b"/", at + 1)
        if end < 0 or _WORD.fullmatch(target[at + 1 : end]) is None:
            break
        at = end
    raise Malformed("no OCSP request in the target", code=_CODE)


def responder_path(target: bytes) -> str:
    """Return the path that a request is posted to, with a slash at its end.

    Raises:
        Malformed: with code `http_plaintext`: it is not the plain path of a responder.
    """
    words = target.strip(b"/").split(b"/") if target.strip(b"/") else []
    path = b"".join(b"/" + word for word in words)
    if target not in {path, path + b"/"} or len(words) > WORDS_MAX or not all(map(_WORD.fullmatch, words)):
        raise Malformed("the target is no plain path of an OCSP responder", code=_CODE)
    return f"{path.decode('ascii')}/"


def _is_request(text: bytes) -> bool:
    if _BASE64.fullmatch(text) is None:
        return False
    for escape, char in _ESCAPES:
        text = text.replace(escape, char)
    try:
        octets = binascii.a2b_base64(text)
        parse_ocsp_request(octets)
    except (binascii.Error, Malformed):
        return False
    return base64.b64encode(octets) == text  # no other text stands for the same


def _cert_id(listed: Reader) -> CertId:
    """Read the next Request of a list."""
    request = _inside(listed, _SEQUENCE, "Request")
    cert = _inside(request, _SEQUENCE, "reqCert")
    request.finish("Request")  # singleRequestExtensions
    algorithm = _inside(cert, _SEQUENCE, "hashAlgorithm")
    size = _HASHES.get(algorithm.take(algorithm.left, "hashAlgorithm"))
    if size is None:
        raise cert.fault("hashAlgorithm is neither SHA-1 nor SHA-256")
    hashes = [_octets(cert, _OCTET_STRING, what) for what in ("issuerNameHash", "issuerKeyHash")]
    serial = _octets(cert, _INTEGER, "serialNumber")
    cert.finish("reqCert")
    if any(len(each) != size for each in hashes):
        raise cert.fault(f"a hash that has not the {size} octets of its algorithm")
    if (
        not 1 <= len(serial) <= SERIAL_MAX
        or serial[0] >= _LONG
        or (serial[0] == 0 and len(serial) > 1 > serial[1] >> 7)
    ):
        raise cert.fault(f"serialNumber is no number of 1 to {SERIAL_MAX} octets in DER, or below zero")
    return CertId(hashes[0], hashes[1], serial)


def _nonce(extensions: Reader) -> bytes:
    """Read requestExtensions, of which there is one."""
    listed = _inside(extensions, _SEQUENCE, "Extensions")
    extensions.finish("requestExtensions")
    extension = _inside(listed, _SEQUENCE, "Extension")
    listed.finish("Extensions")
    if extension.take(min(len(_NONCE), extension.left), "extnID") != _NONCE:
        raise extension.fault("an extension that is not the nonce")
    value = Reader(_octets(extension, _OCTET_STRING, "extnValue"), _CODE)
    extension.finish("Extension")
    nonce = _octets(value, _OCTET_STRING, "nonce")
    value.finish("extnValue")
    if not 1 <= len(nonce) <= NONCE_MAX:
        raise value.fault(f"a nonce of {len(nonce)} octets, 1 to {NONCE_MAX} are taken")
    return nonce


def _inside(reader: Reader, tag: int, what: str) -> Reader:
    """Return a reader over the contents of the next value."""
    return Reader(_octets(reader, tag, what), _CODE)


def _octets(reader: Reader, tag: int, what: str) -> bytes:
    """Return the contents of the next value, whose tag and length stand before it in DER."""
    if reader.uint(1, what) != tag:
        raise reader.fault(f"another value where {what} belongs")
    size = reader.uint(1, what)
    if size >= _LONG:
        least, wide = {_LONG_1: (_LONG, 1), _LONG_2: (0x100, 2)}.get(size, (1 << 16, 0))
        size = reader.uint(wide, what)
        if size < least:
            raise reader.fault(f"{what}: its length is not in DER")
    return reader.take(size, what)
