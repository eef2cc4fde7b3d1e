"""The name in a ClientHello: one plain name, or a refusal."""

import pytest

from appliance.wire import tls
from tests.hellos import NAME, block, client_hello, extension, server_name
from tests.refusal import ids, refusal

NAMES = [
    # sent                           read
    (b"example.com", "example.com"),
    (b"EXAMPLE.com", "example.com"),
    (b"example.com.", "example.com"),
    (b"localhost", "localhost"),
    (b"_dmarc.a-b.example.com", "_dmarc.a-b.example.com"),
    (b"xn--bcher-kva.example", "xn--bcher-kva.example"),
    (b"1.2.3.4.example.com", "1.2.3.4.example.com"),
    (b"4.in-addr.arpa", "4.in-addr.arpa"),
    (b"0x7f.example", "0x7f.example"),
    (b"example.0xyz", "example.0xyz"),
    (b"example.1a", "example.1a"),
    (b"a" * 63 + b".com", "a" * 63 + ".com"),
    (b"a." * 126 + b"b", "a." * 126 + "b"),  # 253 octets
    (b"a." * 126 + b"b.", "a." * 126 + "b"),
]


@pytest.mark.parametrize(("sent", "read"), NAMES)
def test_name_is_read_in_its_canonical_form(sent: bytes, read: str) -> None:
    """A name comes out in lower case, without its root dot."""
    assert tls.parse_client_hello(client_hello(sent)).server_name == read


NAMES_REFUSED = [
    # what                          extension                                   code
    ("empty extension", extension(0), "sni_empty"),
    ("empty list", extension(0, b"\x00\x00"), "sni_empty"),
    ("empty name", server_name(""), "sni_empty"),
    ("two names", server_name("a.example", "b.example"), "sni_multiple"),
    ("the same twice", server_name(NAME, NAME), "sni_multiple"),
    ("name and empty name", server_name(NAME, ""), "sni_multiple"),
    ("empty name and name", server_name("", NAME), "sni_multiple"),
    ("three names", server_name("a", "b", "c"), "sni_multiple"),
    ("unknown type", server_name(NAME, kinds=[1]), "sni_multiple"),
    ("unknown type before", server_name("x", NAME, kinds=[255, 0]), "sni_multiple"),
    ("unknown type after", server_name(NAME, "x", kinds=[0, 7]), "sni_multiple"),
    ("NUL", server_name(b"good.example\x00.evil.example"), "sni_bad_chars"),
    ("bell", server_name(b"a\x07.example"), "sni_bad_chars"),
    ("escape", server_name(b"\x1b[31m.example"), "sni_bad_chars"),
    ("newline", server_name(b"a.example\n"), "sni_bad_chars"),
    ("space", server_name("a b.example"), "sni_bad_chars"),
    ("UTF-8", server_name("bücher.example"), "sni_bad_chars"),
    ("latin-1", server_name(b"b\xfccher.example"), "sni_bad_chars"),
    ("Kelvin sign", server_name("\u212a.example"), "sni_bad_chars"),
    ("star", server_name("*.example"), "sni_bad_chars"),
    ("port", server_name("server4:443"), "sni_bad_chars"),
    ("slash", server_name("a.example/"), "sni_bad_chars"),
    ("root", server_name("."), "sni_bad_chars"),
    ("two root dots", server_name("a.example.."), "sni_bad_chars"),
    ("dot first", server_name(".example"), "sni_bad_chars"),
    ("two dots", server_name("a..example"), "sni_bad_chars"),
    ("IPv6", server_name("2001:db8::1"), "sni_bad_chars"),
    ("IPv6 in brackets", server_name("[2001:db8::1]"), "sni_bad_chars"),
    ("IPv4", server_name("203.0.113.10"), "sni_ip_literal"),
    ("IPv4 and root dot", server_name("203.0.113.10."), "sni_ip_literal"),
    ("IPv4 as one number", server_name("3405803786"), "sni_ip_literal"),
    ("IPv4 in hexadecimal", server_name("0xCB00710A"), "sni_ip_literal"),
    ("IPv4 in octal", server_name("0313.0.0161.012"), "sni_ip_literal"),
    ("short IPv4", server_name("127.1"), "sni_ip_literal"),
    ("number as last label", server_name("example.10"), "sni_ip_literal"),
    ("hexadecimal as last label", server_name("127.0.0.0x1"), "sni_ip_literal"),
    ("0x as last label", server_name("127.0.0.0x"), "sni_ip_literal"),
    ("label of 64", server_name("a" * 64 + ".example"), "sni_too_long"),
    ("last label of 64", server_name("example." + "a" * 64), "sni_too_long"),
    ("name of 254", server_name("a." * 126 + "bb"), "sni_too_long"),
    ("name of 4000", server_name("a." * 2000 + "b"), "sni_too_long"),
    ("cut before the list", extension(0, b"\x00"), "malformed"),
    ("cut in the entry", extension(0, b"\x00\x02\x00\x00"), "malformed"),
    ("list longer than extension", server_name(NAME, list_lie=1), "malformed"),
    ("list shorter than extension", server_name(NAME, list_lie=-1), "malformed"),
    ("name longer than list", server_name(NAME, name_lie=1), "malformed"),
    ("name shorter than list", server_name(NAME, name_lie=-1), "malformed"),
    ("two names, second lies", extension(0, block(b"\x00\x00\x01a\x00\x00\x09b")), "malformed"),
    ("octet after the list", extension(0, block(b"\x00\x00\x01a") + b"x"), "malformed"),
]


@pytest.mark.parametrize(("what", "name", "code"), NAMES_REFUSED, ids=ids(NAMES_REFUSED))
def test_name_that_servers_may_read_differently_is_refused(what: str, name: bytes, code: str) -> None:
    """Only one entry of type host_name that is a plain name is accepted."""
    assert refusal(tls.parse_client_hello, client_hello(None, extra=name))[0] == code


def test_refused_name_is_not_repeated() -> None:
    """An error tells the octet and its place, never the name."""
    _, message = refusal(tls.parse_client_hello, client_hello(b"evil\x1b[31m.example"))
    assert message == "server_name has octet 0x1b at offset 4"
