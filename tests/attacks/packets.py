"""TCP and IP games: P."""

from appliance.reason import Reason
from tests.attacks.row import Row

_ENGINE = "tests/test_engine.py::test_"
_RULES = "tests/test_ruleset.py::test_"
_LAB = "tests/lab/test_packets.py::test_"
_TRICK = "tests/lab/test_desync.py::test_no_trick_brings_the_real_hello_through"
_DESYNC = "tests/lab/test_desync.py::test_"
_ODD = "tests/lab/test_odd_clients.py::test_"
_RAW = "tests/lab/test_raw_servers.py::test_"

ROWS = (
    Row(
        mark="P1",
        attack="segments that overlap with other octets",
        defence="compared; a difference ends the flow",
        codes=(Reason.TCP_CONFLICT,),
        unit=(
            f"{_ENGINE}a_retransmission_that_differs_kills_the_flow",
            "tests/test_stream.py::test_conflict_and_excess_are_refused_and_change_nothing",
        ),
        story=(
            f"{_LAB}tricks_are_refused",
            f"{_TRICK}[multidisorder-seqovl]",
            f"{_TRICK}[multisplit-seqovl]",
            f"{_DESYNC}a_hello_sent_again_otherwise_after_the_flow_is_open_is_not_read",
        ),
    ),
    Row(
        mark="P2",
        attack="segments out of order",
        defence="reassembled within bounds",
        codes=(Reason.TOO_MANY_SEGMENTS,),
        unit=(
            "tests/test_stream.py::test_pieces_in_any_order_make_the_same_stream",
            f"{_ENGINE}too_many_segments",
        ),
        story=(
            f"{_LAB}a_good_hello_is_allowed_however_it_is_cut",
            f"{_TRICK}[multidisorder]",
            f"{_TRICK}[fakeddisorder-badsum]",
        ),
    ),
    Row(
        mark="P3",
        attack="a decoy hello whose TTL ends before the server, then the real one",
        defence="the TTL is rewritten, and the flow opens on a reply that acknowledges the hello",
        codes=(Reason.TCP_CONFLICT, Reason.SERVER_ACK_SHORT),
        unit=(
            f"{_RULES}the_time_to_live_is_rewritten_before_the_queue",
            f"{_ENGINE}a_decoy_kills_the_flow_when_the_real_hello_comes",
            f"{_ENGINE}a_reply_that_does_not_cover_the_hello_is_refused",
        ),
        story=(
            f"{_LAB}a_decoy_cannot_stand_in_for_the_real_hello",
            f"{_DESYNC}a_decoy_with_a_short_life_arrives_and_is_the_hello",
            f"{_TRICK}[fake-ttl_one_short]",
            f"{_RAW}a_reply_that_does_not_acknowledge_the_hello_opens_nothing",
        ),
    ),
    Row(
        mark="P4",
        attack="a decoy with a bad checksum",
        defence="conntrack verifies it, and what is invalid is dropped",
        codes=(Reason.NAME_NOT_LISTED,),
        unit=(f"{_RULES}what_conntrack_calls_invalid_never_meets_the_queue",),
        story=(
            f"{_TRICK}[fake-badsum]",
            f"{_TRICK}[fakedsplit-badsum]",
            f"{_LAB}tricks_are_refused",
        ),
    ),
    Row(
        mark="P5",
        attack="a decoy with an impossible sequence or acknowledgement number",
        defence="conntrack knows the window, and what is outside is dropped; what it tolerates must repeat the hello",
        codes=(Reason.TCP_CONFLICT, Reason.NAME_NOT_LISTED),
        unit=(
            f"{_RULES}what_conntrack_calls_invalid_never_meets_the_queue",
            f"{_ENGINE}octets_before_the_stream_kill_the_flow",
        ),
        story=(
            f"{_LAB}a_decoy_out_of_the_window_changes_nothing",
            f"{_TRICK}[beyond_window]",
            f"{_TRICK}[fake-badseq]",
            f"{_TRICK}[fake-badseq_increment]",
            f"{_TRICK}[fake-badack_increment]",
            f"{_TRICK}[corrupt_ack-ahead]",
        ),
    ),
    Row(
        mark="P6",
        attack="a decoy with a TCP-MD5 option or an old timestamp, which the server ignores",
        defence="the option is refused; the real hello conflicts with the decoy",
        codes=(Reason.TCP_MD5, Reason.TCP_CONFLICT, Reason.SERVER_ACK_SHORT),
        unit=(
            f"{_ENGINE}odd_segments_kill_the_flow",
            f"{_ENGINE}a_decoy_kills_the_flow_when_the_real_hello_comes",
            f"{_ENGINE}a_reply_that_does_not_cover_the_hello_is_refused",
        ),
        story=(
            f"{_TRICK}[fake-md5sig]",
            f"{_TRICK}[fake-ts]",
            f"{_TRICK}[invalid_option-signed]",
            f"{_LAB}a_signed_syn_is_refused",
            f"{_RAW}a_reply_that_does_not_acknowledge_the_hello_opens_nothing",
        ),
    ),
    Row(
        mark="P7",
        attack="urgent data, or a pointer alone, which takes an octet out of the stream",
        defence="refused",
        codes=(Reason.URGENT_DATA,),
        unit=(
            f"{_ENGINE}odd_segments_kill_the_flow",
            f"{_ENGINE}an_urgent_pointer_without_payload_kills_the_flow",
            f"{_RULES}bare_is_told_by_lengths_alone",
        ),
        story=(
            f"{_TRICK}[flags-urg]",
            f"{_DESYNC}an_urgent_pointer_takes_no_octet_out_of_the_hello",
            f"{_RAW}odd_segments_of_a_server_do_not_reach_its_client",
        ),
    ),
    Row(
        mark="P8",
        attack="a feigned RST or FIN, with data or without",
        defence="conntrack decides; nothing is adopted after it, and a reset with data ends the flow",
        codes=(
            Reason.MID_STREAM,
            Reason.MALFORMED_PACKET,
        ),
        unit=(
            f"{_RULES}there_is_no_way_in_for_what_has_no_beginning",
            f"{_RULES}all_with_payload_is_queued",
            f"{_ENGINE}odd_segments_kill_the_flow",
        ),
        story=(
            f"{_LAB}a_feigned_end_opens_nothing",
            f"{_TRICK}[rst-md5sig]",
            f"{_TRICK}[rst-badseq_increment]",
            f"{_TRICK}[rstack-md5sig]",
            f"{_TRICK}[rstack-badseq_increment]",
            f"{_TRICK}[fin-md5sig]",
            f"{_TRICK}[fin-badseq_increment]",
            f"{_TRICK}[reset-data-in_window]",
            f"{_TRICK}[fin-data]",
        ),
    ),
    Row(
        mark="P9",
        attack="data in the SYN, Fast Open, Multipath",
        defence="refused; the options are taken off",
        codes=(Reason.SYN_DATA,),
        unit=(
            "tests/test_gate.py::test_refused",
            f"{_RULES}a_syn_goes_on_without_payload_and_options",
            f"{_RULES}a_syn_that_is_sent_again_is_an_opening",
        ),
        story=(
            f"{_LAB}data_in_a_syn_is_refused",
            f"{_LAB}a_fast_open_cookie_is_taken_off",
            f"{_TRICK}[desync-syn-data]",
            f"{_ODD}options_that_change_what_data_is_are_taken_off_each_syn",
        ),
    ),
    Row(
        mark="P10",
        attack="the hello on the handshake's third packet",
        defence="inspected like any other",
        codes=(Reason.NAME_NOT_LISTED,),
        unit=(f"{_RULES}all_with_payload_is_queued",),
        story=(f"{_LAB}the_handshake_may_carry_the_hello_on_its_last_segment",),
    ),
    Row(
        mark="P11",
        attack="several SYN/ACKs with different numbers, a split handshake",
        defence="conntrack decides; the number of the client's first octet comes from the server's acknowledgement",
        unit=(
            f"{_RULES}only_the_servers_syn_begins_a_flow",
            f"{_ENGINE}a_new_connection_whose_number_looks_the_same_in_the_mark_is_inspected",
        ),
        story=(
            f"{_RAW}several_answers_to_a_syn_open_nothing",
            f"{_RAW}a_number_that_was_agreed_on_later_hides_nothing",
            f"{_RAW}a_split_handshake_opens_nothing",
            f"{_DESYNC}a_second_syn_with_another_number_leaves_the_first_in_force",
        ),
    ),
    Row(
        mark="P12",
        attack="IP fragments that overlap, IP options",
        defence="reassembled by the kernel, or never; options are refused",
        codes=(Reason.IP_OPTIONS,),
        unit=(
            "tests/test_gate.py::test_refused",
            f"{_RULES}bare_is_told_by_lengths_alone",
        ),
        story=(
            f"{_LAB}overlapping_fragments_never_arrive",
            f"{_LAB}ip_options_on_a_syn_are_refused",
            f"{_TRICK}[ipfrag2]",
            f"{_TRICK}[ipfrag2-disorder]",
            f"{_TRICK}[ipfrag2-tiny]",
            f"{_TRICK}[ipfrag2-decoy]",
        ),
    ),
    Row(
        mark="P13",
        attack="IPv6, its extension headers and fragments",
        defence="IPv6 is never forwarded",
        unit=(f"{_RULES}ipv6_is_dropped_before_anything_is_told_apart",),
        story=(
            f"{_ODD}no_ipv6_is_forwarded",
            "tests/lab/test_bad_days.py::test_ipv6_is_refused",
        ),
    ),
    Row(
        mark="P14",
        attack="a flow joined in mid-stream",
        defence="nothing is adopted; both ends get a reset",
        codes=(Reason.MID_STREAM,),
        unit=(
            "tests/test_gate.py::test_refused",
            f"{_RULES}there_is_no_way_in_for_what_has_no_beginning",
        ),
        story=(
            f"{_LAB}what_is_in_mid_stream_is_answered_with_a_reset",
            f"{_LAB}what_is_no_beginning_goes_nowhere",
        ),
    ),
    Row(
        mark="P15",
        attack="a harmless beginning, for filters that look at the first packets only",
        defence="a flow opens on its state, never on a count of packets",
        codes=(Reason.NAME_NOT_LISTED,),
        unit=(
            f"{_RULES}all_with_payload_is_queued",
            f"{_ENGINE}a_dribbled_hello_goes_on_to_an_address_of_a_listed_name",
            f"{_ENGINE}the_last_octet_of_a_dribbled_hello_stays_if_the_name_is_refused",
        ),
        story=(
            f"{_TRICK}[harmless]",
            f"{_LAB}a_dribbled_hello_never_arrives_whole",
        ),
    ),
    Row(
        mark="P16",
        attack="memory: endless hellos, repetitions that never progress",
        defence="bounds everywhere; the longest holder is denied",
        codes=(
            Reason.OVERLOADED,
            Reason.TOO_MANY_SEGMENTS,
            Reason.HELLO_TIMEOUT,
        ),
        unit=(
            f"{_ENGINE}who_holds_longest_makes_room",
            f"{_ENGINE}a_flow_that_holds_too_many_loses_packets_only",
            f"{_ENGINE}too_many_segments",
            f"{_ENGINE}a_hello_that_is_never_finished",
        ),
        story=(
            "tests/lab/test_bad_days.py::test_a_client_that_floods_disturbs_nobody",
            f"{_LAB}repetitions_that_never_progress_end",
        ),
    ),
    Row(
        mark="P17",
        attack="packets longer than the copy that is inspected",
        defence="the segment size is clamped; a cut copy is refused",
        codes=(Reason.TRUNCATED_COPY,),
        unit=(f"{_ENGINE}a_cut_packet_is_denied",),
        story=(
            "tests/lab/test_bad_days.py::test_clients_with_jumbo_frames",
            f"{_LAB}a_packet_that_is_longer_than_its_copy_is_refused",
        ),
    ),
    Row(
        mark="P18",
        attack="a fast path that takes packets from the filter",
        defence="none is used; the kernel passes a flow by its mark, which the final verdict alone sets",
        unit=(f"{_RULES}a_flow_is_open_by_its_last_verdict_only",),
        story=(
            "tests/lab/test_tls.py::test_a_flow_leaves_the_queue_once_it_is_allowed",
            f"{_DESYNC}an_old_port_cannot_be_opened_over_an_open_flow",
        ),
    ),
    Row(
        mark="P19",
        attack="padding or a keep-alive octet taken for data, lengths that lie",
        defence="a packet ends where its IP length says; what that counts is data, and a probe is none",
        codes=(Reason.NOT_TLS,),
        unit=(
            f"{_RULES}bare_is_told_by_lengths_alone",
            f"{_ENGINE}zeros_after_the_handshake_are_a_hello_like_any_other",
            f"{_ENGINE}a_keep_alive_probe_harms_no_flow",
            "tests/test_oddity.py::test_probes",
        ),
        story=(
            f"{_ODD}padding_behind_a_bare_segment_is_neither_payload_nor_refused",
            f"{_ODD}a_packet_that_lies_about_its_length_is_not_believed",
            f"{_ODD}a_probe_behind_the_hello_neither_ends_the_flow_nor_arrives",
            f"{_TRICK}[padding]",
        ),
    ),
)
