"""Name games: N."""

from appliance.reason import Reason
from tests.attacks.row import Row

_ENGINE = "tests/test_engine.py::test_"
_TLS = "tests/lab/test_tls.py::test_"
_NAME = "tests/test_server_name.py::test_name_that_servers_may_read_differently_is_refused"
_HELLO = "tests/test_client_hello.py::test_hello_whose_lengths_do_not_nest_is_refused"
_UNCLEAR = f"{_TLS}what_is_not_a_clear_hello_is_refused"

ROWS = (
    Row(
        mark="N1",
        attack="a listed name, somebody else's address",
        defence="the destination must be an address that our own look-ups of the name gave",
        codes=(Reason.ADDRESS_MISMATCH,),
        unit=("tests/test_decision.py::test_a_name_and_its_address_must_agree",),
        story=(f"{_TLS}a_listed_name_sent_to_another_address_is_refused",),
    ),
    Row(
        mark="N2",
        attack="another site at an address that a listed name shares",
        defence="the name must be listed, not only the address",
        codes=(Reason.NAME_NOT_LISTED,),
        unit=(f"{_ENGINE}a_refused_hello_is_logged_reset_and_dropped",),
        story=(),
    ),
    Row(
        mark="N3",
        attack="domain fronting: a listed name in the hello, another one inside TLS",
        defence="none without decryption",
        unseen="the name inside is encrypted",
    ),
    Row(
        mark="N4",
        attack="an explicit proxy's CONNECT, with another name in the hello inside",
        defence="a CONNECT is no TLS, and plaintext is refused",
        codes=(Reason.HTTP_PLAINTEXT,),
        unit=(),
        story=(),
    ),
    Row(
        mark="N5",
        attack="no name",
        defence="refused",
        codes=(Reason.NO_SNI,),
        unit=("tests/test_inspection.py::test_refused_client",),
        story=(_UNCLEAR,),
    ),
    Row(
        mark="N6",
        attack="an empty extension, list or name",
        defence="refused",
        codes=(Reason.SNI_EMPTY, Reason.MALFORMED),
        unit=(_NAME,),
        story=(_UNCLEAR,),
    ),
    Row(
        mark="N7",
        attack="two names in one list",
        defence="refused: parsers differ on which one counts",
        codes=(Reason.SNI_MULTIPLE,),
        unit=(_NAME,),
        story=(_UNCLEAR,),
    ),
    Row(
        mark="N8",
        attack="two server_name extensions, or any other twice",
        defence="refused: parsers differ on which one counts",
        codes=(Reason.EXT_DUPLICATE,),
        unit=(_HELLO,),
        story=(_UNCLEAR,),
    ),
    Row(
        mark="N9",
        attack="a name of an unknown type, alone or beside a host name",
        defence="refused",
        codes=(Reason.SNI_MULTIPLE,),
        unit=(_NAME,),
        story=(_UNCLEAR,),
    ),
    Row(
        mark="N10",
        attack="lengths that lie",
        defence="every length must nest exactly",
        codes=(Reason.MALFORMED,),
        unit=(_HELLO,),
        story=(_UNCLEAR,),
    ),
    Row(
        mark="N11",
        attack="NUL, control characters, UTF-8, spaces in the name",
        defence="only letters, digits, hyphens, underscores and dots are a name; no other octet is logged",
        codes=(Reason.SNI_BAD_CHARS,),
        unit=(_NAME, "tests/test_server_name.py::test_refused_name_is_not_repeated"),
        story=(_UNCLEAR,),
    ),
    Row(
        mark="N12",
        attack="a trailing dot, upper case",
        defence="one dot is taken off, and case does not count; two dots are no name",
        codes=(Reason.SNI_BAD_CHARS,),
        unit=("tests/test_server_name.py::test_name_is_read_in_its_canonical_form", _NAME),
        story=(),
    ),
    Row(
        mark="N13",
        attack="a U-label, or mixed scripts",
        defence="A-labels only are compared; annotations are converted, or refused with the rule",
        codes=(Reason.SNI_BAD_CHARS,),
        unit=("tests/test_fqdn.py::test_what_is_no_name_is_explained",),
        story=(),
    ),
    Row(
        mark="N14",
        attack="a name, a label or a hello that is too long",
        defence="bounds of RFC 1035 for names, of our own for hellos",
        codes=(Reason.SNI_TOO_LONG, Reason.HELLO_TOO_LONG),
        unit=(_NAME, f"{_ENGINE}a_hello_that_is_too_long"),
        story=(_UNCLEAR,),
    ),
    Row(
        mark="N15",
        attack="an IP address as name",
        defence="refused",
        codes=(Reason.SNI_IP_LITERAL,),
        unit=(_NAME,),
        story=(_UNCLEAR,),
    ),
    Row(
        mark="N16",
        attack="a name that ends like a listed one, or holds it",
        defence="names are compared label by label",
        codes=(Reason.NAME_NOT_LISTED,),
        unit=(),
        story=(),
    ),
    Row(
        mark="N17",
        attack="a port in the name",
        defence="refused",
        codes=(Reason.SNI_BAD_CHARS,),
        unit=(_NAME,),
        story=(),
    ),
)
