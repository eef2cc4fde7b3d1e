"""Name games: N."""

from appliance.reason import Reason
from tests.attacks.row import Row

_ENGINE = "tests/test_engine.py::test_"
_TLS = "tests/lab/test_tls.py::test_"
_LAB = "tests/lab/test_adversary_tls.py::test_"
_DECISION = "tests/test_decision.py::test_a_name_and_its_address_must_agree"


def _names(*cases: str) -> tuple[str, ...]:
    """Return unit tests of names that are refused."""
    test = "tests/test_server_name.py::test_name_that_servers_may_read_differently_is_refused"
    return tuple(f"{test}[{case}]" for case in cases)


def _hellos(*cases: str) -> tuple[str, ...]:
    """Return unit tests of hellos that are refused."""
    test = "tests/test_client_hello.py::test_hello_whose_lengths_do_not_nest_is_refused"
    return tuple(f"{test}[{case}]" for case in cases)


def _sent(*cases: str) -> tuple[str, ...]:
    """Return stories of names that are refused."""
    return tuple(f"{_LAB}a_name_that_is_not_plainly_the_listed_one_is_refused[{case}]" for case in cases)


def _spelt(*names: str) -> tuple[str, ...]:
    """Return stories of listed names that are allowed."""
    return tuple(f"{_LAB}a_listed_name_is_known_however_it_is_spelt[{name}]" for name in names)


ROWS = (
    Row(
        mark="N1",
        attack="a listed name, somebody else's address",
        defence="the destination must be an address that our own look-ups of the name gave",
        codes=(Reason.ADDRESS_MISMATCH,),
        unit=(f"{_DECISION}[api.example.com, address_mismatch]",),
        story=(f"{_TLS}a_listed_name_sent_to_another_address_is_refused",),
    ),
    Row(
        mark="N2",
        attack="another site at an address that a listed name shares",
        defence="the name must be listed, not only the address",
        codes=(Reason.NAME_NOT_LISTED,),
        unit=(f"{_ENGINE}a_refused_hello_is_logged_reset_and_dropped[name not listed]",),
        story=(f"{_LAB}another_site_at_the_same_address_is_refused",),
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
        unit=("tests/test_inspection.py::test_refused_client[CONNECT, then a hello]",),
        story=(
            f"{_LAB}what_is_no_clear_hello_is_refused[N4, CONNECT, then a hello]",
            f"{_LAB}a_hello_behind_connect_is_not_waited_for",
        ),
    ),
    Row(
        mark="N5",
        attack="no name",
        defence="refused",
        codes=(Reason.NO_SNI,),
        unit=("tests/test_inspection.py::test_refused_client[no name]",),
        story=(f"{_LAB}what_is_no_clear_hello_is_refused[N5, no server_name]",),
    ),
    Row(
        mark="N6",
        attack="an empty extension, list or name",
        defence="refused",
        codes=(Reason.SNI_EMPTY,),
        unit=_names("empty extension", "empty list", "empty name"),
        story=_sent("N6, an empty extension", "N6, an empty list", "N6, an empty name"),
    ),
    Row(
        mark="N7",
        attack="two names in one list",
        defence="refused: parsers differ on which one counts",
        codes=(Reason.SNI_MULTIPLE,),
        unit=_names("two names", "the same twice", "three names", "name and empty name", "empty name and name"),
        story=_sent(
            "N7, the same name twice", "N7, another name first", "N7, another name last", "N7, an empty name last"
        ),
    ),
    Row(
        mark="N8",
        attack="two server_name extensions, or any other twice",
        defence="refused: parsers differ on which one counts",
        codes=(Reason.EXT_DUPLICATE,),
        unit=_hellos("two server_names", "one name twice", "opaque twice", "GREASE twice"),
        story=(f"{_LAB}an_extension_that_comes_twice_is_refused",),
    ),
    Row(
        mark="N9",
        attack="a name of an unknown type, alone or beside a host name",
        defence="refused",
        codes=(Reason.SNI_MULTIPLE,),
        unit=_names("unknown type", "unknown type before", "unknown type after"),
        story=_sent("N9, an unknown type", "N9, an unknown type first", "N9, an unknown type last"),
    ),
    Row(
        mark="N10",
        attack="lengths that lie",
        defence="every length must nest exactly",
        codes=(Reason.MALFORMED,),
        unit=(
            *_names(
                "list longer than extension",
                "list shorter than extension",
                "name longer than list",
                "name shorter than list",
                "octet after the list",
            ),
            *_hellos(
                "extensions too long",
                "extensions too short",
                "octet after extensions",
                "octet after empty extensions",
                "extension too long",
                "extension too short",
            ),
        ),
        story=(
            *_sent(
                "N10, a list that is too long",
                "N10, a list that is too short",
                "N10, a name that is too long",
                "N10, a name that is too short",
                "N10, octets behind the list",
            ),
            *(
                f"{_LAB}what_is_no_clear_hello_is_refused[N10, {case}]"
                for case in (
                    "extensions too long",
                    "extensions too short",
                    "octets behind extensions",
                    "octets behind none",
                    "an extension too long",
                    "a message too short",
                )
            ),
        ),
    ),
    Row(
        mark="N11",
        attack="NUL, control characters, UTF-8, spaces in the name",
        defence="only letters, digits, hyphens, underscores and dots are a name; no other octet is logged",
        codes=(Reason.SNI_BAD_CHARS,),
        unit=(
            *_names("NUL", "bell", "escape", "newline", "space", "UTF-8", "latin-1"),
            "tests/test_server_name.py::test_refused_name_is_not_repeated",
        ),
        story=_sent("N11, NUL", "N11, NUL at the end", "N11, bell", "N11, escape", "N11, newline", "N11, space"),
    ),
    Row(
        mark="N12",
        attack="a trailing dot, upper case",
        defence="one dot is taken off, and case does not count; two dots are no name",
        codes=(Reason.SNI_BAD_CHARS,),
        unit=(
            *(
                f"tests/test_server_name.py::test_name_is_read_in_its_canonical_form[{case}]"
                for case in ("EXAMPLE.com-example.com", "example.com.-example.com")
            ),
            *_names("two root dots", "two dots", "dot first", "root"),
        ),
        story=(
            *_spelt("target.adversary.test.", "TARGET.ADVERSARY.TEST"),
            *_sent("N12, two root dots", "N12, a dot in front", "N12, two dots in between", "N12, the root alone"),
        ),
    ),
    Row(
        mark="N13",
        attack="a U-label, or mixed scripts",
        defence="A-labels only are compared, octet by octet; any other is refused, in hellos and in annotations",
        codes=(Reason.SNI_BAD_CHARS, Reason.NAME_NOT_LISTED),
        unit=(
            *_names("UTF-8", "latin-1", "Kelvin sign"),
            "tests/test_fqdn.py::test_a_u_label_is_refused_and_its_author_told_of_a_labels",
        ),
        story=(
            *_spelt("xn--bcher-kva.adversary.test", "XN--BCHER-KVA.ADVERSARY.TEST"),
            *_sent(
                "N13, a U-label in UTF-8",
                "N13, a U-label in Latin-1",
                "N13, a U-label of mixed scripts",
                "N13, an A-label of mixed scripts",
                "N13, full-width letters",
                "N13, an ideographic full stop",
            ),
        ),
    ),
    Row(
        mark="N14",
        attack="a name, a label or a hello that is too long",
        defence="bounds of RFC 1035 for names, of our own for hellos",
        codes=(Reason.SNI_TOO_LONG, Reason.HELLO_TOO_LONG),
        unit=(
            *_names("label of 64", "last label of 64", "name of 254"),
            f"{_ENGINE}a_hello_that_is_too_long",
            f"{_ENGINE}too_many_segments",
        ),
        story=(
            *_sent("N14, a label of 64", "N14, a name of 254"),
            f"{_LAB}what_is_no_clear_hello_is_refused[N14, a hello of 24 kB]",
            f"{_LAB}what_is_no_clear_hello_is_refused[N14, a hello of 16 MB]",
        ),
    ),
    Row(
        mark="N15",
        attack="an IP address as name",
        defence="refused",
        codes=(Reason.SNI_IP_LITERAL, Reason.SNI_BAD_CHARS),
        unit=_names(
            "IPv4", "IPv4 and root dot", "IPv4 as one number", "IPv4 in hexadecimal", "IPv6", "IPv6 in brackets"
        ),
        story=_sent("N15, an address", "N15, an address as a number", "N15, an IPv6 address"),
    ),
    Row(
        mark="N16",
        attack="a name that ends like a listed one, or holds it",
        defence="names and patterns are compared label by label; no wildcard stands for a dot, or what anybody could "
        "register, but for a single `?` in a label",
        codes=(Reason.NAME_NOT_LISTED,),
        unit=(
            *(
                f"{_DECISION}[{name}, name_not_listed]"
                for name in ("evilapi.example.com", "v2.api.example.com", "api.example.com.evil.test")
            ),
            "tests/test_pattern.py::test_matches[*.example.com]",
            "tests/test_exposure.py::test_what_a_pattern_reaches[*.github.io]",
            "tests/test_exposure.py::test_what_a_pattern_reaches[exam*le.com]",
            "tests/test_exposure.py::test_several_question_marks_are_judged_as_an_asterisk",
        ),
        story=_sent(
            "N16, a longer first label",
            "N16, a letter in front",
            "N16, a label behind",
            "N16, a letter behind",
            "N16, a label in front",
            "N16, the zone",
            "N16, another letter for a dot",
        ),
    ),
    Row(
        mark="N17",
        attack="a port in the name",
        defence="refused",
        codes=(Reason.SNI_BAD_CHARS,),
        unit=_names("port"),
        story=_sent("N17, a port", "N17, a port of another"),
    ),
)
