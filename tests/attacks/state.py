"""State, protocol and platform games: X."""

from appliance.reason import Reason
from tests.attacks.row import Row

_ENGINE = "tests/test_engine.py::test_"
_BAD_DAYS = "tests/lab/test_bad_days.py::test_"
_SUPERVISION = "tests/lab/test_supervision.py::test_"

ROWS = (
    Row(
        mark="X1",
        attack="an open flow whose rule was removed",
        defence="open flows are judged again when the policy changes",
        codes=(),
        unit=(),
        story=(),
    ),
    Row(
        mark="X2",
        attack="a connection of before the engine's start",
        defence="nothing passes without our mark",
        unit=(),
        story=(),
    ),
    Row(
        mark="X3",
        attack="the same ports again",
        defence="only the server's SYN begins a flow, with all 32 bits of the number it acknowledges",
        unit=(f"{_ENGINE}a_new_connection_on_the_same_ports_is_inspected",),
        story=("tests/lab/test_packets.py::test_a_source_port_can_be_used_again",),
    ),
    Row(
        mark="X4",
        attack="marks that a client chose: DSCP, priorities",
        defence="no mark is taken from a packet",
        unit=(),
        story=(),
    ),
    Row(
        mark="X5",
        attack="all ports of the NAT, or all of conntrack",
        defence="",
        codes=(),
        unit=(),
        story=(),
    ),
    Row(
        mark="X6",
        attack="tunnels: ICMP, UDP, GRE, ESP, SCTP, IP in IP",
        defence="nothing but TCP can be listed",
        codes=(Reason.PROTOCOL_NOT_SUPPORTED,),
        unit=("tests/test_gate.py::test_refused",),
        story=(f"{_BAD_DAYS}other_protocols_are_dropped", f"{_BAD_DAYS}other_udp_is_dropped"),
    ),
    Row(
        mark="X7",
        attack="QUIC",
        defence="refused with an ICMP error, so that clients fall back at once",
        codes=(Reason.QUIC,),
        unit=("tests/test_gate.py::test_refused",),
        story=(f"{_BAD_DAYS}quic_is_told_at_once",),
    ),
    Row(
        mark="X8",
        attack="SSH as a tunnel; another SSH host at the same address",
        defence="the address and version 2 are all that can be seen; both identification strings are logged",
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
        attack="a SYN to any address as a message",
        defence="",
        codes=(),
        unit=(),
        story=(),
    ),
    Row(
        mark="X12",
        attack="overload, to find the filter open",
        defence="a full queue drops; a worker that died or hangs leaves everything closed",
        codes=(Reason.OVERLOADED,),
        unit=("tests/test_netfilter.py::test_ruleset_is_closed",),
        story=(
            f"{_SUPERVISION}a_full_queue_stays_closed_and_recovers",
            f"{_SUPERVISION}a_killed_worker_is_started_again",
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
