"""DNS games: D."""

from appliance.reason import Reason
from tests.attacks.row import Row

_BOOK = "tests/test_addresses.py::test_"
_ENGINE = "tests/test_engine.py::test_"
_WILDCARDS = "tests/lab/test_wildcards.py::test_"
_LEARNT = "tests/test_learnt.py::test_"
_GATE = "tests/test_syn_gate.py::test_"
_BOUNDS = "tests/lab/test_bounds.py::test_"
_DNS = "tests/lab/test_dns.py::test_"
_LAB = "tests/lab/test_bad_days.py::test_"
_RESOLVER = "tests/test_resolver.py::test_"

ROWS = (
    Row(
        mark="D1",
        attack="the client gets another answer than the filter, and is refused wrongly",
        defence="answers accumulate, and are asked for again while the hello is held",
        unit=(f"{_BOOK}answers_accumulate", f"{_RESOLVER}a_name_that_has_just_changed_is_found"),
        story=(f"{_LAB}a_name_that_moves_is_followed",),
    ),
    Row(
        mark="D2",
        attack="answers that expire while a connection lives",
        defence="expiry is for new flows only",
        unit=("tests/property/test_policy_laws.py::test_an_open_flow_goes_on_if_the_new_policy_would_allow_it",),
        story=("tests/lab/test_revocation.py::test_expired_answers_end_nothing",),
    ),
    Row(
        mark="D3",
        attack="a short TTL and rotating answers",
        defence="a grace period beyond the TTL; answers that keep changing are asked for again",
        unit=(f"{_RESOLVER}fresh_look_ups_see_every_turn_of_a_rotation",),
        story=(f"{_LAB}rotating_answers_never_cause_a_refusal",),
    ),
    Row(
        mark="D4",
        attack="chains and loops of CNAME",
        defence="followed to a bounded end; the name asked for is bound to the last addresses",
        codes=(Reason.NAME_UNRESOLVED,),
        unit=(
            f"{_RESOLVER}an_answer_is_for_the_name_that_was_asked",
            f"{_RESOLVER}trouble_is_an_answer_with_a_word_for_it",
        ),
        story=(
            f"{_LAB}cnames_are_followed",
            f"{_DNS}a_chain_without_end_opens_nothing",
            f"{_DNS}the_end_of_a_chain_is_bound_to_its_beginning_alone",
        ),
    ),
    Row(
        mark="D5",
        attack="answers that are cut",
        defence="asked again over TCP",
        codes=(Reason.ADDRESS_MISMATCH,),
        unit=(f"{_RESOLVER}truncation_leads_to_tcp",),
        story=(f"{_DNS}an_answer_that_is_cut_is_asked_for_over_tcp", f"{_DNS}hundreds_of_addresses_all_count"),
    ),
    Row(
        mark="D6",
        attack="DNS past the resolver that is watched",
        defence="no client's DNS is believed; port 53 towards the Internet is refused like any other",
        codes=(Reason.PROTOCOL_NOT_SUPPORTED, Reason.PORT_NOT_LISTED, Reason.NOT_TLS),
        unit=("tests/test_gate.py::test_refused",),
        story=(f"{_BOUNDS}no_other_resolver_is_asked", f"{_BOUNDS}tls_on_port_53_opens_no_dns"),
    ),
    Row(
        mark="D7",
        attack="DNS over HTTPS, TLS or QUIC to another resolver",
        defence="refused unless its name is listed; `check` warns of the well-known ones",
        codes=(Reason.NAME_NOT_LISTED, Reason.PORT_NOT_LISTED, Reason.PROTOCOL_NOT_SUPPORTED, Reason.QUIC),
        unit=("tests/test_gate.py::test_refused", "tests/test_check.py::test_findings"),
        story=(f"{_BOUNDS}no_hidden_resolver_is_asked",),
    ),
    Row(
        mark="D8",
        attack="a listed name that answers with a private or our own address",
        defence="never believed, and private destinations are never forwarded to",
        codes=(Reason.ANSWER_PRIVATE, Reason.DESTINATION_PRIVATE),
        unit=(f"{_BOOK}private_addresses_are_dropped", "tests/test_gate.py::test_refused"),
        story=(
            f"{_LAB}private_answers_among_public_ones_are_left_out",
            f"{_LAB}a_resolver_that_fails_or_lies_opens_nothing",
        ),
    ),
    Row(
        mark="D9",
        attack="an address that somebody else has by now",
        defence="the grace period is bounded",
        codes=(Reason.ADDRESS_MISMATCH,),
        unit=(f"{_BOOK}an_address_expires_after_its_ttl_and_the_grace", f"{_GATE}an_address_that_expired_is_asked_for"),
        story=(f"{_DNS}an_address_that_left_its_name_is_refused_after_the_grace",),
    ),
    Row(
        mark="D10",
        attack="a resolver that lies, forged answers",
        defence="the VPC's own resolver; random ports and numbers; an answer must fit its question",
        codes=(Reason.NAME_UNRESOLVED, Reason.ADDRESS_MISMATCH),
        unit=(f"{_RESOLVER}ports_and_ids_differ", f"{_RESOLVER}trouble_is_an_answer_with_a_word_for_it"),
        story=(
            f"{_LAB}a_resolver_that_fails_or_lies_opens_nothing",
            f"{_DNS}an_answer_that_does_not_fit_its_question_opens_nothing",
            f"{_DNS}a_client_cannot_answer_in_the_resolvers_place",
        ),
    ),
    Row(
        mark="D11",
        attack="a client with an address of before the filter's time",
        defence="asked again while the hello is held; then refused",
        codes=(Reason.ADDRESS_MISMATCH,),
        unit=(f"{_ENGINE}an_unknown_address_is_looked_up_while_the_hello_waits",),
        story=("tests/lab/test_revocation.py::test_an_address_that_a_client_knows_from_before_is_asked_for",),
    ),
    Row(
        mark="D12",
        attack="DNS tunnelling through the VPC resolver",
        defence="none: it does not pass the appliance. Route 53 Resolver DNS Firewall is for it",
        unseen="workloads ask the VPC resolver directly",
    ),
    Row(
        mark="D13",
        attack="look-ups without end of names that nobody can list beforehand",
        defence="only names that are listed, or that a pattern matches, are looked up, a bounded number of times "
        "for each flow, each once a second at most and all of them at a rate; a client has a share of those in flight, "
        "so that a silent name server holds up nobody else; those of patterns are rationed for each client, failures "
        "are believed for a while, large answers are not parsed, and so many names and addresses are kept",
        codes=(Reason.NAME_NOT_LISTED, Reason.LOOK_UPS_LIMITED),
        unit=(
            f"{_ENGINE}a_name_that_is_not_listed_is_not_looked_up",
            f"{_RESOLVER}look_ups_in_flight_are_bounded",
            f"{_RESOLVER}one_client_holds_up_nobody_else",
            f"{_RESOLVER}fat_answers_are_not_parsed",
            f"{_RESOLVER}names_that_fail_are_asked_for_ever_less_often",
            "tests/test_waiting.py::test_a_client_waits_in_nobody_else_s_queue",
            f"{_RESOLVER}look_ups_that_are_waited_for_have_a_rate",
            f"{_RESOLVER}however_often_a_name_is_wanted_it_is_asked_for_once_an_interval[turning.example.com-1]",
            f"{_LEARNT}what_a_pattern_does_not_match_is_not_looked_up",
            f"{_LEARNT}new_names_are_rationed",
            f"{_LEARNT}what_could_not_be_looked_up_is_believed_for_a_while",
            f"{_LEARNT}learnt_names_are_bounded",
            f"{_LEARNT}what_no_client_of_ours_asked_for_is_not_kept",
            f"{_LEARNT}a_learnt_name_has_fewer_addresses_than_a_listed_one",
            f"{_BOOK}a_hungry_name_starves_itself",
        ),
        story=(
            f"{_DNS}names_that_are_not_listed_cause_no_query",
            f"{_DNS}a_flood_under_a_listed_name_causes_few_queries",
            f"{_DNS}flow_after_flow_under_a_listed_name_causes_few_queries",
            f"{_WILDCARDS}a_name_that_none_matches_is_refused_and_not_looked_up[a.b.wild.test]",
            f"{_WILDCARDS}names_that_a_client_makes_up_are_rationed",
        ),
    ),
    Row(
        mark="D14",
        attack="a resolver that is away",
        defence="known addresses hold for the grace period, then closed",
        codes=(Reason.NAME_UNRESOLVED,),
        unit=(f"{_BOOK}a_failure_takes_nothing_away", f"{_ENGINE}failed_look_ups_refuse"),
        story=(
            f"{_LAB}the_last_answers_stand_while_the_resolver_is_away",
            f"{_DNS}a_resolver_that_stays_away_closes_in_the_end",
        ),
    ),
)
