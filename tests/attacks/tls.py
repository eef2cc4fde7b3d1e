"""TLS games: T."""

from appliance.reason import Reason
from tests.attacks.row import Row

_ENGINE = "tests/test_engine.py::test_"
_TLS = "tests/lab/test_tls.py::test_"
_PACKETS = "tests/lab/test_packets.py::test_"
_LAB = "tests/lab/test_adversary_tls.py::test_"
_RECORD = "tests/test_tls_record.py::test_"
_FIRST = f"{_RECORD}client_stream_that_is_no_hello_is_refused"
_ODD = f"{_LAB}an_odd_hello_that_openssl_takes_is_allowed"
_OLD_SERVER = f"{_TLS}a_server_that_chooses_an_old_version_is_refused"


def _of(test: str, *cases: str) -> tuple[str, ...]:
    """Return cases of a parametrised test."""
    return tuple(f"{test}[{case}]" for case in cases)


def _client(*cases: str) -> tuple[str, ...]:
    """Return unit tests of what a client may not send first."""
    return _of("tests/test_inspection.py::test_refused_client", *cases)


def _sent(mark: str, *cases: str) -> tuple[str, ...]:
    """Return stories of what a client may not send first."""
    return _of(f"{_LAB}what_is_no_clear_hello_is_refused", *(f"{mark}, {case}" for case in cases))


def _second(*cases: str) -> tuple[str, ...]:
    """Return stories of what a client sends after a HelloRetryRequest."""
    return _of(f"{_LAB}openssl_gets_a_second_hello_for_the_first_ones_name_only", *cases)


ROWS = (
    Row(
        mark="T1",
        attack="a hello split over TCP segments",
        defence="reassembled before it is read",
        unit=(f"{_ENGINE}a_hello_in_two_segments_waits_for_the_second",),
        story=(
            f"{_TLS}a_hello_of_many_segments_is_allowed",
            *_of(f"{_PACKETS}a_good_hello_is_allowed_however_it_is_cut", "in_two_halves", "the_second_half_first"),
            *_of(f"{_PACKETS}tricks_are_refused", "cut_but_not_listed-name_not_listed"),
        ),
    ),
    Row(
        mark="T2",
        attack="a hello split over TLS records",
        defence="handshake octets are joined; empty records, other types in between and too many are refused",
        codes=(Reason.MALFORMED, Reason.HELLO_TOO_LONG),
        unit=(
            f"{_RECORD}same_hello_however_it_arrives",
            f"{_RECORD}records_are_counted",
            *_of(
                _FIRST,
                "empty record",
                "long record",
                "empty record between",
                "data between",
                "alert between",
                "ChangeCipherSpec between",
            ),
        ),
        story=(
            f"{_PACKETS}a_hello_in_records_of_one_octet_is_allowed",
            *_of(_ODD, "records of one octet", "records of three octets"),
            *_sent(
                "T2",
                "an empty record first",
                "an empty record between",
                "data between",
                "an alert between",
                "a heartbeat between",
                "ChangeCipherSpec between",
                "a record of 16385 octets",
            ),
            f"{_LAB}a_hello_in_too_many_records_is_refused",
        ),
    ),
    Row(
        mark="T3",
        attack="one octet a segment, a tiny first segment, or no end",
        defence="reassembled, within bounds of octets, segments and time",
        codes=(Reason.TOO_MANY_SEGMENTS, Reason.HELLO_TIMEOUT),
        unit=(
            f"{_ENGINE}too_many_segments",
            f"{_ENGINE}a_hello_that_is_never_finished",
            f"{_ENGINE}the_last_octet_of_a_dribbled_hello_stays_if_the_name_is_refused",
        ),
        story=(
            f"{_PACKETS}a_dribbled_hello_never_arrives_whole",
            f"{_TLS}a_client_that_dribbles_is_allowed",
            f"{_TLS}a_client_that_never_finishes_its_hello_is_refused",
        ),
    ),
    Row(
        mark="T4",
        attack="a second hello, after a HelloRetryRequest or beside the first, with another name",
        defence="both must carry the same name; one that nobody asked for is refused",
        codes=(Reason.HELLO_NAME_CHANGED, Reason.MALFORMED),
        unit=(
            f"{_ENGINE}a_second_hello_for_another_name_kills_the_flow",
            f"{_ENGINE}a_second_hello_nobody_asked_for_kills_the_flow",
            f"{_ENGINE}a_second_hello_beyond_what_is_kept_does_not_go_on",
            f"{_ENGINE}a_second_hello_sent_ahead_is_held_and_judged",
            f"{_ENGINE}what_reaches_beyond_what_is_kept_is_held_whatever_it_begins_with",
            *_of(_FIRST, "more in its record", "more in its last record"),
        ),
        story=(
            f"{_TLS}the_second_hello_must_name_the_same_server",
            f"{_LAB}openssl_does_take_another_name_in_the_second_hello",
            *_second("the same name", "behind ChangeCipherSpec", "the same name, spelt otherwise"),
            *_second("another name", "another listed name", "another name behind ChangeCipherSpec"),
            *_second("another name in records of one octet", "no name", "two in one record", "a third"),
            f"{_LAB}a_second_hello_sent_ahead_of_its_request_waits_and_is_judged",
            f"{_LAB}a_second_hello_cannot_hide_beyond_what_is_kept",
            *_sent("T4", "another hello in its record", "another hello behind it", "the same hello behind it"),
        ),
    ),
    Row(
        mark="T5",
        attack="Encrypted Client Hello, or ESNI, behind an innocent name",
        defence="refused unless the deployment permits it",
        codes=(Reason.ECH,),
        unit=(
            *_client("ECH", "ESNI", "no name, ECH"),
            *_of(
                "tests/test_client_hello.py::test_odd_but_legal_hello_is_read",
                "ECH",
                "inner ECH",
                "ECH of draft 12",
                "ECH of draft 8",
                "ECH of draft 7",
                "ESNI",
            ),
            "tests/test_inspection.py::test_ech_on_demand",
        ),
        story=(
            *_sent("T5", "ECH", "ECH of the inner kind", "ECH without a name", "ECH of draft 10", "ESNI"),
            *_second("ECH"),
            "tests/lab/test_preferences.py::test_encrypted_hellos_pass_while_they_may",
        ),
    ),
    Row(
        mark="T6",
        attack="an old version, offered or chosen",
        defence="both sides must have TLS 1.2 or newer",
        codes=(Reason.TLS_TOO_OLD, Reason.SERVER_TLS_TOO_OLD),
        unit=(
            "tests/test_client_hello.py::test_best_version_is_the_newest_really_offered",
            *_client("TLS 1.1", "draft and GREASE"),
            "tests/test_inspection.py::test_version_that_a_server_chose",
            *_of(
                "tests/test_server_hello.py::test_reply_that_no_server_sends_is_refused",
                "TLS 1.0 in supported_versions",
                "draft in supported_versions",
                "GREASE in supported_versions",
            ),
        ),
        story=(
            f"{_TLS}a_client_that_offers_only_tls_1_1_is_refused",
            *_sent("T6", "TLS 1.1", "SSL 3.0", "TLS 1.1 in the list", "GREASE and old ones", "GREASE alone"),
            *_sent("T6", "a draft and an old one", "a draft alone", "an empty list"),
            *_of(_OLD_SERVER, "old-TLSv1-TLS 1.0", "old11-TLSv1_1-TLS 1.1"),
            *_of(
                f"{_LAB}what_is_no_reply_never_reaches_the_client",
                "T6, SSL 3.0",
                "T6, TLS 1.0 in the list",
                "T6, a draft",
            ),
        ),
    ),
    Row(
        mark="T7",
        attack="a hello in SSL 2.0 format",
        defence="refused",
        codes=(Reason.SSLV2_HELLO,),
        unit=_client("SSL 2.0", "SSL 2.0, no hello"),
        story=_sent("T7", "SSL 2.0", "SSL 2.0, then a hello"),
    ),
    Row(
        mark="T8",
        attack="0-RTT data behind the hello",
        defence="what begins behind the hello's last segment is held until the server has agreed",
        unit=(
            f"{_ENGINE}early_data_waits_for_the_reply",
            f"{_ENGINE}early_data_waits_when_the_hello_had_to_wait",
            f"{_ENGINE}early_data_beyond_what_is_kept_waits_too",
            f"{_ENGINE}what_reaches_beyond_what_is_kept_is_held_whatever_it_begins_with",
        ),
        story=(
            f"{_PACKETS}early_data_behind_the_hello_waits_for_the_server",
            f"{_LAB}early_data_of_a_real_client_arrives",
        ),
    ),
    Row(
        mark="T9",
        attack="a resumed session under another name",
        defence="the name is judged for each connection, never for a session",
        codes=(Reason.NAME_NOT_LISTED,),
        unit=(f"{_ENGINE}a_resumed_session_is_judged_by_its_own_name",),
        story=_of(f"{_LAB}a_resumed_session_is_judged_by_the_name_of_its_own_hello", "tls12", "tls13"),
    ),
    Row(
        mark="T10",
        attack="TLS 1.2 renegotiation with another name",
        defence="none without decryption",
        unseen="the second handshake is encrypted",
    ),
    Row(
        mark="T11",
        attack="STARTTLS, a PROXY line, SOCKS or HTTP in place of the hello",
        defence="refused",
        codes=(Reason.NOT_TLS, Reason.HTTP_PLAINTEXT),
        unit=_client("SMTP", "PROXY line", "binary PROXY header", "SOCKS 4", "SOCKS 5", "HTTP"),
        story=(
            *_sent("T11", "SMTP", "IMAP", "LDAP", "PostgreSQL", "a PROXY line", "a binary PROXY header"),
            *_sent("T11", "SOCKS 4", "SOCKS 5", "HTTP", "HTTP/2", "SSH", "an empty line first"),
        ),
    ),
    Row(
        mark="T12",
        attack="a relay with a real site's name and certificate",
        defence="its address is none of the name's, as N1",
        codes=(Reason.ADDRESS_MISMATCH,),
        unit=_of("tests/test_decision.py::test_a_name_and_its_address_must_agree", "api.example.com, address_mismatch"),
        story=(f"{_LAB}a_relay_with_a_real_sites_certificate_is_refused",),
    ),
    Row(
        mark="T13",
        attack="something else than TLS in the reply's place",
        defence="the reply must be a well-formed ServerHello in records",
        codes=(Reason.SERVER_NOT_TLS, Reason.SERVER_MALFORMED),
        unit=(
            f"{_RECORD}server_stream_that_is_no_reply_is_refused",
            "tests/test_server_hello.py::test_reply_that_no_server_sends_is_refused",
            f"{_ENGINE}a_refused_reply_ends_the_flow",
        ),
        story=(
            f"{_TLS}a_server_that_is_not_tls_is_refused",
            *_of(
                f"{_LAB}what_is_no_reply_never_reaches_the_client",
                "T13, HTTP",
                "T13, SSL 2.0",
                "T13, data",
                "T13, ChangeCipherSpec",
                "T13, HelloRequest",
                "T13, a certificate",
                "T13, an empty record",
                "T13, compression",
                "T13, octets at its end",
                "T13, an extension twice",
            ),
        ),
    ),
    Row(
        mark="T14",
        attack="a certificate for another name",
        defence="none: TLS 1.3 encrypts it, and whoever answers at the name's own address is the name's owner's matter",
        unseen="TLS 1.3 encrypts certificates",
    ),
)
