"""The name in a ClientHello's server_name extension.

Source: RFC 6066 section 3 (the extension), RFC 1035 section 2.3.4 (sizes). Underscores are let through
beyond RFC 6066: names in use have them.
Servers disagree about everything but one entry of type host_name that is a plain ASCII name, so that
is all that is accepted. A name refused is never repeated in an error: it may hold anything.
"""

import re
import struct
from typing import Final

from appliance.errors import Malformed
from appliance.wire.reader import Reader

LABEL_MAX: Final = 63  # octets
NAME_MAX: Final = 253  # octets: 255 on the wire of DNS, less the first length octet and the root's

_HOST_NAME: Final = 0
_ENTRY_HEADER: Final = 3  # octets: type, length
_LIST_HEADER: Final = struct.Struct("!HBH")  # length of the list; type and length of its first entry

# Labels, of which the last does not look like a number: libraries take "1.2.3.4", "2130706433" and
# "127.0x1" for IPv4 addresses (WHATWG URL section 3.5, "ends in a number").
_GOOD: Final = re.compile(rb"(?:[a-z0-9_-]{1,63}\.)*(?!(?:[0-9]+|0x[0-9a-f]*)\Z)[a-z0-9_-]{1,63}", re.ASCII)
_NUMBER: Final = re.compile(rb"[0-9]+|0x[0-9a-f]*", re.ASCII)
_BAD_OCTET: Final = re.compile(rb"[^a-z0-9_.-]", re.ASCII)


def parse_server_name(extension: bytes) -> str:
    """Return the one host_name of a server_name extension, in lower case, without a root dot.

    Raises:
        Malformed: with code `sni_empty`, `sni_multiple`, `sni_bad_chars`, `sni_too_long`,
            `sni_ip_literal`, or `malformed` if lengths do not nest. The caller denies the flow.
    """
    if len(extension) < _LIST_HEADER.size:
        raise _list_fault(extension)
    list_size, kind, name_size = _LIST_HEADER.unpack_from(extension)
    if list_size != len(extension) - 2 or kind != _HOST_NAME or name_size != list_size - _ENTRY_HEADER:
        raise _list_fault(extension)
    name = extension[_LIST_HEADER.size :].lower()
    if name[-1:] == b".":
        name = name[:-1]
    if len(name) > NAME_MAX or _GOOD.fullmatch(name) is None:
        raise _name_fault(name, name_size)
    return name.decode("ascii")


def _list_fault(extension: bytes) -> Malformed:
    """Say what is wrong with a server_name extension that was refused."""
    if not extension:
        return Malformed("server_name extension is empty", code="sni_empty")
    reader = Reader(extension)
    try:
        names = reader.inner(2, "server_name list")
        reader.finish("server_name extension")
        kinds: list[int] = []
        while names.left:
            kinds.append(names.uint(1, "server_name type"))
            names.block(2, "server_name")
    except Malformed as fault:
        return fault
    if len(kinds) > 1:
        return Malformed(f"{len(kinds)} names in the server_name list, want 1", code="sni_multiple")
    if not kinds:
        return Malformed("server_name list is empty", code="sni_empty")
    return Malformed(f"server_name of type {kinds[0]}, want {_HOST_NAME}", code="sni_multiple")


def _name_fault(name: bytes, size: int) -> Malformed:
    """Say what is wrong with a name that was refused. `name`: in lower case, without a root dot."""
    if size == 0:
        return Malformed("server_name is empty", code="sni_empty")
    bad = _BAD_OCTET.search(name)
    if bad is not None:
        return Malformed(f"server_name has octet {bad[0][0]:#04x} at offset {bad.start()}", code="sni_bad_chars")
    labels = name.split(b".")
    if b"" in labels:
        return Malformed(f"server_name has an empty label, number {labels.index(b'') + 1}", code="sni_bad_chars")
    longest = max(len(label) for label in labels)
    if len(name) > NAME_MAX or longest > LABEL_MAX:
        return Malformed(
            f"server_name of {len(name)} octets, longest label {longest}, limits are {NAME_MAX} and {LABEL_MAX}",
            code="sni_too_long",
        )
    return Malformed("server_name is an IPv4 address: its last label is a number", code="sni_ip_literal")
