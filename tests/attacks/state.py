"""State, protocol and platform games: X."""

from appliance.reason import Reason
from tests.attacks.row import Row

_ENGINE = "tests/test_engine.py::test_"
_BAD_DAYS = "tests/lab/test_bad_days.py::test_"
_BOUNDS = "tests/lab/test_bounds.py::test_"
_GATE = "tests/test_syn_gate.py::test_"
_PRUNER = "tests/test_pruner.py::test_"
_REVOCATION = "tests/lab/test_revocation.py::test_"
_SUPERVISION = "tests/lab/test_supervision.py::test_"

ROWS = (
    Row(
        mark="X1",
        attack="an open flow whose rule was removed",
        defence="open flows are judged again when the policy or the day changes; those that lost their rule end",
        codes=(Reason.RULE_REMOVED, Reason.SEE_THRU_ENDED),
        unit=("tests/test_revocation.py::test_who_goes_on", f"{_ENGINE}a_reply_after_its_rule_went_opens_nothing"),
        story=(
            f"{_REVOCATION}a_tls_session_ends_with_its_rule",
            f"{_REVOCATION}an_ssh_session_ends_with_its_rule",
            f"{_REVOCATION}none_escapes_at_the_moment_of_the_change",
            f"{_REVOCATION}what_a_slow_worker_still_opens_ends",
        ),
    ),
    Row(
        mark="X2",
        attack="a connection of before the engine's start",
        defence="nothing passes without our mark",
        codes=(Reason.MID_STREAM,),
        unit=("tests/test_ruleset.py::test_there_is_no_way_in_for_what_has_no_beginning",),
        story=(
            f"{_REVOCATION}a_connection_of_before_the_start_does_not_go_on",
            f"{_REVOCATION}a_server_of_before_the_start_is_not_heard",
        ),
    ),
    Row(
        mark="X3",
        attack="the same ports again",
        defence="only the server's SYN begins a flow, with all 32 bits of the number it acknowledges",
        unit=(f"{_ENGINE}a_new_connection_on_the_same_ports_is_inspected",),
        story=(
            "tests/lab/test_packets.py::test_a_source_port_can_be_used_again",
            f"{_REVOCATION}the_next_connection_of_the_same_ports_is_inspected",
            f"{_REVOCATION}a_syn_within_an_open_connection_begins_nothing",
        ),
    ),
    Row(
        mark="X4",
        attack="marks that a client chose: DSCP, priorities",
        defence="no mark is taken from a packet",
        codes=(Reason.NAME_NOT_LISTED,),
        unit=("tests/test_netfilter.py::test_no_mark_comes_from_a_packet",),
        story=(f"{_REVOCATION}a_client_marks_nothing",),
    ),
    Row(
        mark="X5",
        attack="all ports of the NAT, or all of conntrack",
        defence="a client's new flows are bounded; handshakes, and flows without a hello, are soon forgotten; an alarm",
        codes=(Reason.TOO_MANY_FLOWS, Reason.HELLO_TIMEOUT),
        unit=(
            "tests/test_gate.py::test_flows_beyond_the_rate_of_a_client_are_dropped",
            f"{_PRUNER}of_too_many_those_silent_for_longest_are_forgotten",
            f"{_PRUNER}what_is_silent_for_too_long_is_forgotten",
            "tests/test_system.py::test_handshakes_hold_nothing_for_long",
        ),
        story=(
            f"{_BOUNDS}half_open_flows_of_one_client_are_bounded",
            f"{_BOUNDS}handshakes_without_a_hello_are_forgotten",
        ),
    ),
    Row(
        mark="X6",
        attack="tunnels: ICMP, UDP, GRE, ESP, SCTP, IP in IP",
        defence="nothing but TCP can be listed",
        codes=(Reason.PROTOCOL_NOT_SUPPORTED,),
        unit=("tests/test_gate.py::test_refused",),
        story=(
            f"{_BOUNDS}no_other_protocol_passes",
            f"{_BOUNDS}neither_multicast_nor_broadcast_passes",
            f"{_BAD_DAYS}other_udp_is_dropped",
        ),
    ),
    Row(
        mark="X7",
        attack="QUIC",
        defence="refused with an ICMP error, so that clients fall back at once",
        codes=(Reason.QUIC,),
        unit=("tests/test_gate.py::test_refused",),
        story=(f"{_BAD_DAYS}quic_is_told_at_once", f"{_BOUNDS}no_hidden_resolver_is_asked[DNS over HTTP/3]"),
    ),
    Row(
        mark="X8",
        attack="SSH as a tunnel; another SSH host at the same address",
        defence="the address and version 2 are all that can be seen; both sides' versions are logged",
        unseen="what SSH carries is encrypted, and it has no name",
    ),
    Row(
        mark="X9",
        attack="something else than SSH on an SSH rule",
        defence="both identification strings must be SSH 2.0's",
        codes=(Reason.NOT_SSH, Reason.SERVER_NOT_SSH, Reason.SSH_TOO_OLD, Reason.SERVER_SSH_TOO_OLD),
        unit=(f"{_ENGINE}ssh_refusals",),
        story=(
            "tests/lab/test_ssh.py::test_servers_of_another_kind_are_refused",
            "tests/lab/test_ssh.py::test_clients_of_another_kind_are_refused",
        ),
    ),
    Row(
        mark="X10",
        attack="a server that speaks first on a TLS rule",
        defence="refused",
        codes=(Reason.SERVER_FIRST,),
        unit=(f"{_ENGINE}a_server_that_speaks_first_on_a_tls_rule_is_refused",),
        story=("tests/lab/test_tls.py::test_a_server_that_speaks_first_is_refused",),
    ),
    Row(
        mark="X11",
        attack="a SYN to any address as a message: a knock, a number",
        defence="on demand (`syn_gate`), a SYN goes out only to addresses of names listed for its port",
        codes=(Reason.ADDRESS_NOT_LISTED,),
        unit=(
            f"{_GATE}addresses_of_listed_names_pass",
            f"{_GATE}another_address_waits_for_the_names_of_its_port",
            f"{_GATE}a_name_of_another_port_does_not_count",
            "tests/test_netfilter.py::test_the_syn_gate_moves_ports_from_one_set_to_the_other",
        ),
        story=(
            f"{_BOUNDS}a_syn_is_a_message_unless_the_gate_is_on",
            f"{_BOUNDS}listed_names_work_behind_the_gate",
            f"{_BOUNDS}an_address_that_is_new_is_looked_up_behind_the_gate",
            f"{_BOUNDS}without_dns_the_gate_is_shut",
            f"{_BOUNDS}the_gate_survives_the_death_of_workers",
        ),
    ),
    Row(
        mark="X12",
        attack="overload, to find the filter open",
        defence="a full queue drops; a worker that died or hangs leaves everything closed",
        codes=(Reason.OVERLOADED,),
        unit=("tests/test_netfilter.py::test_ruleset_is_closed", f"{_GATE}what_is_held_is_bounded"),
        story=(
            f"{_SUPERVISION}a_full_queue_stays_closed_and_recovers",
            f"{_SUPERVISION}a_worker_that_is_stuck_stays_closed_and_recovers",
            f"{_SUPERVISION}a_killed_worker_is_started_again",
            f"{_SUPERVISION}a_killed_supervisor_leaves_everything_closed",
        ),
    ),
    Row(
        mark="X13",
        attack="what the filter's own tests never tried",
        defence="this table: each row has a test, and `make test` fails if one has none",
        unit=("tests/test_attacks.py::test_every_row_has_its_tests",),
        no_story="the stories of all other rows",
    ),
)
