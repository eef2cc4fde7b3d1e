"""TLS games: T."""

from appliance.reason import Reason
from tests.attacks.row import Row

_ENGINE = "tests/test_engine.py::test_"
_TLS = "tests/lab/test_tls.py::test_"
_PACKETS = "tests/lab/test_packets.py::test_"
_RECORD = "tests/test_tls_record.py::test_"

ROWS = (
    Row(
        mark="T1",
        attack="a hello split over TCP segments",
        defence="reassembled before it is read",
        unit=(f"{_ENGINE}a_hello_in_two_segments_waits_for_the_second",),
        story=(f"{_TLS}a_hello_of_many_segments_is_allowed",),
    ),
    Row(
        mark="T2",
        attack="a hello split over TLS records",
        defence="handshake octets are joined; empty records, other types in between and too many are refused",
        codes=(Reason.MALFORMED, Reason.HELLO_TOO_LONG),
        unit=(f"{_RECORD}same_hello_however_it_arrives", f"{_RECORD}client_stream_that_is_no_hello_is_refused"),
        story=(f"{_PACKETS}a_hello_in_records_of_one_octet_is_allowed",),
    ),
    Row(
        mark="T3",
        attack="one octet a segment, a tiny first segment, or no end",
        defence="reassembled, within bounds of octets, segments and time",
        codes=(Reason.TOO_MANY_SEGMENTS, Reason.HELLO_TIMEOUT),
        unit=(f"{_ENGINE}too_many_segments", f"{_ENGINE}a_hello_that_is_never_finished"),
        story=(
            f"{_PACKETS}a_dribbled_hello_never_arrives_whole",
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
        ),
        story=(f"{_TLS}the_second_hello_must_name_the_same_server",),
    ),
    Row(
        mark="T5",
        attack="Encrypted Client Hello, or ESNI, behind an innocent name",
        defence="refused unless the deployment permits it",
        codes=(Reason.ECH,),
        unit=("tests/test_inspection.py::test_refused_client", "tests/test_inspection.py::test_ech_on_demand"),
        story=(
            f"{_TLS}what_is_not_a_clear_hello_is_refused",
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
            "tests/test_inspection.py::test_version_that_a_server_chose",
        ),
        story=(
            f"{_TLS}a_client_that_offers_only_tls_1_1_is_refused",
            f"{_TLS}a_server_that_chooses_tls_1_0_is_refused",
        ),
    ),
    Row(
        mark="T7",
        attack="a hello in SSL 2.0 format",
        defence="refused",
        codes=(Reason.SSLV2_HELLO,),
        unit=("tests/test_inspection.py::test_refused_client",),
        story=(f"{_TLS}what_is_not_a_clear_hello_is_refused",),
    ),
    Row(
        mark="T8",
        attack="0-RTT data behind the hello",
        defence="held until the server has agreed",
        unit=(f"{_ENGINE}early_data_waits_for_the_reply",),
        story=(f"{_PACKETS}early_data_behind_the_hello_waits_for_the_server",),
    ),
    Row(
        mark="T9",
        attack="a resumed session under another name",
        defence="the name is judged for each connection, never for a session",
        codes=(Reason.NAME_NOT_LISTED,),
        unit=(),
        story=(),
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
        unit=("tests/test_inspection.py::test_refused_client",),
        story=(f"{_TLS}what_is_not_a_clear_hello_is_refused",),
    ),
    Row(
        mark="T12",
        attack="a relay with a real site's name and certificate",
        defence="its address is none of the name's, as N1",
        codes=(Reason.ADDRESS_MISMATCH,),
        unit=("tests/test_decision.py::test_a_name_and_its_address_must_agree",),
        story=(),
    ),
    Row(
        mark="T13",
        attack="something else than TLS in the reply's place",
        defence="the reply must be a well-formed ServerHello in records",
        codes=(Reason.SERVER_NOT_TLS, Reason.SERVER_MALFORMED),
        unit=(f"{_RECORD}server_stream_that_is_no_reply_is_refused", f"{_ENGINE}a_refused_reply_ends_the_flow"),
        story=(f"{_TLS}a_server_that_is_not_tls_is_refused",),
    ),
    Row(
        mark="T14",
        attack="a certificate for another name",
        defence="none: TLS 1.3 encrypts it, and whoever answers at the name's own address is the name's owner's matter",
        unseen="TLS 1.3 encrypts certificates",
    ),
)
