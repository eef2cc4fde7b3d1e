"""What an adversary does with the one plaintext that may pass, revocation lists and OCSP (`x509_crls`): H."""

from appliance.reason import Reason
from tests.attacks.row import Row

_CRLS = "tests/test_crls.py::test_"
_OCSP = "tests/test_ocsp.py::test_"
_LAB = "tests/lab/test_crls.py::test_"

ROWS = (
    Row(
        mark="H1",
        attack="another request hidden in one for a list: fields twice or folded, other line ends, lengths, codings",
        defence="one spelling, known fields alone, and none that a server or a proxy could read otherwise",
        codes=(Reason.HTTP_PLAINTEXT,),
        unit=(f"{_CRLS}what_somebody_could_read_otherwise_is_none",),
        story=(f"{_LAB}no_other_request_gets_out",),
    ),
    Row(
        mark="H2",
        attack="another request behind the first, at once or after the reply",
        defence="a connection is good for one: further octets end it, and so does silence",
        codes=(Reason.HTTP_PLAINTEXT, Reason.TCP_CONFLICT),
        unit=(
            f"{_CRLS}whatever_else_a_client_says_ends_the_flow",
            f"{_CRLS}octets_that_come_with_the_request_are_refused",
            f"{_CRLS}a_fetch_that_is_silent_is_ended_at_both_ends",
        ),
        story=(f"{_LAB}a_second_request_does_not_get_out",),
    ),
    Row(
        mark="H3",
        attack="another site at the address of a CA's host, by Host or by the target",
        defence="Host stands once, and is a known host to the letter; the target is a plain path",
        codes=(Reason.HTTP_PLAINTEXT,),
        unit=(f"{_CRLS}a_host_is_a_name_as_it_stands_in_the_table",),
        story=(f"{_LAB}another_host_at_the_same_address_is_refused",),
    ),
    Row(
        mark="H4",
        attack="a CA's host, somebody else's address",
        defence="as N1: the address must be one that our own look-ups of the host gave",
        codes=(Reason.ADDRESS_MISMATCH,),
        unit=(f"{_CRLS}a_list_is_fetched_from_an_address_of_its_host_alone",),
        story=(f"{_LAB}the_host_at_another_address_is_refused",),
    ),
    Row(
        mark="H5",
        attack="data, or something else than a list, in the target",
        defence="no query, no escapes; the path of a list, below the CA's folder, or of a known responder",
        codes=(Reason.HTTP_PLAINTEXT,),
        unit=(
            f"{_CRLS}a_host_with_other_content_serves_crls_alone",
            f"{_OCSP}a_question_goes_to_a_responder_alone",
        ),
        story=(f"{_LAB}curl_gets_nothing_else_there", f"{_LAB}a_question_goes_to_responders_alone"),
    ),
    Row(
        mark="H6",
        attack="a body: in a GET, of another kind, of another length, or one that is a request itself",
        defence="a GET has none; a POST's is an OCSP request, and as long as its one Content-Length says",
        codes=(Reason.HTTP_PLAINTEXT,),
        unit=(f"{_OCSP}what_is_more_than_a_question_in_http_is_refused", f"{_OCSP}a_body_may_come_later"),
        story=(f"{_LAB}no_other_question_gets_out", f"{_LAB}a_body_that_comes_late_is_read"),
    ),
    Row(
        mark="H7",
        attack="a server that answers by something else than HTTP, or without an end",
        defence="its first octets must be a status line, and so many octets are enough",
        codes=(Reason.SERVER_NOT_HTTP, Reason.CRL_TOO_LONG),
        unit=(f"{_CRLS}a_reply_is_http_and_no_longer_than_a_list",),
        story=(f"{_LAB}an_answer_that_is_not_http_is_refused",),
    ),
    Row(
        mark="H8",
        attack="data in an OCSP request: a requestor's name, a signature, extensions, other encodings",
        defence="strict DER, four certificates at most, SHA-1 or SHA-256, no extension but a nonce of 32 octets",
        codes=(Reason.HTTP_PLAINTEXT,),
        unit=(f"{_OCSP}what_is_more_than_a_question_is_refused",),
        story=(f"{_LAB}no_other_question_gets_out",),
    ),
    Row(
        mark="H9",
        attack="a message to a CA in what is left: a list's name, a field's value, hashes, a serial number, a nonce",
        defence="bounded, 2,048 octets a request, and to the CA's own host",
        unseen="no firewall knows which certificates and lists exist",
    ),
)
