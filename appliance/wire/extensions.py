"""The extension block that ends a ClientHello and a ServerHello.

Source: RFC 8446 section 4.2, RFC 8701 (GREASE).
The one place with index arithmetic over extensions: a typical hello has fifteen of them, and is parsed
for every flow.
"""

import struct
from typing import Final

from appliance.errors import Malformed

SERVER_NAME: Final = 0
ALPN: Final = 16
SUPPORTED_VERSIONS: Final = 43
KEY_SHARE: Final = 51
# RFC 9849; the numbers of its drafts from 13, 12 to 8, and 7 on; of its forerunner, ESNI.
ECH: Final = frozenset({*range(0xFE08, 0xFE0E), 0xFF02, 0xFFCE})

_LENGTH: Final = struct.Struct("!H")
_HEADER: Final = struct.Struct("!HH")  # type, length
_HEADER_SIZE: Final = _HEADER.size


def parse_extensions(body: bytes, at: int, *, duplicate: str, malformed: str) -> dict[int, bytes]:
    """Return the extensions from offset `at` to the end of `body`, by type, in order.

    None at all is legal up to TLS 1.2: then `at` is the end of `body`.

    Raises:
        Malformed: with code `duplicate` if one appears twice, `malformed` if the lengths do not nest
            exactly. The caller denies the flow.
    """
    extensions: dict[int, bytes] = {}
    end = len(body)
    if at == end:
        return extensions
    if at + 2 > end:
        raise Malformed(f"extensions length: wants 2 octets at offset {at}, {end - at} left", code=malformed)
    (size,) = _LENGTH.unpack_from(body, at)
    at += 2
    if at + size != end:
        raise Malformed(f"extensions of {size} octets at offset {at}, {end - at} left", code=malformed)
    unpack = _HEADER.unpack_from
    while at != end:
        start = at + _HEADER_SIZE
        if start > end:
            raise Malformed(f"extension header: wants 4 octets at offset {at}, {end - at} left", code=malformed)
        kind, size = unpack(body, at)
        at = start + size
        if at > end:
            raise Malformed(
                f"extension {kind}: wants {size} octets at offset {start}, {end - start} left", code=malformed
            )
        if kind in extensions:
            raise Malformed(f"extension {kind} appears twice, again at offset {start}", code=duplicate)
        extensions[kind] = body[start:at]
    return extensions
