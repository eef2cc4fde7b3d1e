"""TLS in one place: framing, hellos, version names.

`frame_client_hello` and `parse_client_hello` for the client's direction, `frame_server_reply` and
`parse_server_hello` for the server's, `frame_retry` for what a client sends after a HelloRetryRequest.
"""

from typing import Final

from appliance.wire.client_hello import ClientHello, parse_client_hello
from appliance.wire.server_hello import ServerHello, parse_server_hello
from appliance.wire.tls_record import (
    HELLO_MAX,
    RECORDS_MAX,
    Alert,
    Framed,
    frame_client_hello,
    frame_retry,
    frame_server_reply,
)

__all__ = [
    "HELLO_MAX",
    "RECORDS_MAX",
    "Alert",
    "ClientHello",
    "Framed",
    "ServerHello",
    "frame_client_hello",
    "frame_retry",
    "frame_server_reply",
    "parse_client_hello",
    "parse_server_hello",
    "version_name",
]

_VERSION_NAMES: Final = {
    0x0002: "SSL 2.0",
    0x0300: "SSL 3.0",
    0x0301: "TLS 1.0",
    0x0302: "TLS 1.1",
    0x0303: "TLS 1.2",
    0x0304: "TLS 1.3",
}


def version_name(version: int) -> str:
    """Return the usual name of a version number, such as "TLS 1.2"; of an unknown one, its hexadecimal form."""
    return _VERSION_NAMES.get(version) or f"{version:#06x}"
