"""Reason codes: the closed list of why a flow was allowed or refused.

A code is part of the log format: add members, never rename or reuse them. `REASON_TEXT` holds the
sentence an operator reads beside it. A mark such as T4 is a row of SECURITY.md.
This module imports nothing of ours.
"""

import enum


class Reason(enum.StrEnum):
    """Why. The value is what stands in the log's field `code`."""

    # allowed
    NAME_LISTED = "name_listed"
    PATTERN_LISTED = "pattern_listed"
    ADDRESS_LISTED = "address_listed"  # SSH has no name in it: the address belongs to a listed one
    CRL_LISTED = "crl_listed"  # plaintext, by the preference x509_crls
    OCSP_LISTED = "ocsp_listed"  # likewise
    SERVER_AGREED = "server_agreed"
    SEE_THRU = "see_thru"  # only for what see-thru lets pass without an inspection, such as UDP

    # who, and where to
    POLICY_NOT_LOADED = "policy_not_loaded"
    CLIENT_UNKNOWN = "client_unknown"
    CLIENT_NOT_ANNOTATED = "client_not_annotated"
    PORT_NOT_LISTED = "port_not_listed"
    PROTOCOL_NOT_SUPPORTED = "protocol_not_supported"  # X6
    QUIC = "quic"  # X7
    DESTINATION_PRIVATE = "destination_private"  # D8
    DESTINATION_NOT_IN_RULE = "destination_not_in_rule"

    # names
    NAME_NOT_LISTED = "name_not_listed"  # N2, N16, T9
    NAME_UNRESOLVED = "name_unresolved"  # D14
    LOOK_UPS_LIMITED = "look_ups_limited"  # D13
    ADDRESS_MISMATCH = "address_mismatch"  # N1, T12
    ADDRESS_NOT_LISTED = "address_not_listed"  # X11
    ANSWER_PRIVATE = "answer_private"  # D8
    NO_SNI = "no_sni"  # N5
    SNI_EMPTY = "sni_empty"  # N6
    SNI_MULTIPLE = "sni_multiple"  # N7, N9
    SNI_BAD_CHARS = "sni_bad_chars"  # N11, N12, N13, N17
    SNI_TOO_LONG = "sni_too_long"  # N14
    SNI_IP_LITERAL = "sni_ip_literal"  # N15
    HELLO_NAME_CHANGED = "hello_name_changed"  # T4

    # TLS
    NOT_TLS = "not_tls"  # T11
    SSLV2_HELLO = "sslv2_hello"  # T7
    MALFORMED = "malformed"  # N10
    EXT_DUPLICATE = "ext_duplicate"  # N8
    HELLO_TOO_LONG = "hello_too_long"  # N14
    TLS_TOO_OLD = "tls_too_old"  # T6, client
    ECH = "ech"  # T5
    SERVER_NOT_TLS = "server_not_tls"  # T13
    SERVER_MALFORMED = "server_malformed"  # T13
    SERVER_TLS_TOO_OLD = "server_tls_too_old"  # T6, server
    SERVER_REFUSED = "server_refused"  # a TLS alert in place of a ServerHello
    SERVER_FIRST = "server_first"  # X10
    SERVER_NOT_HTTP = "server_not_http"  # H7: in reply to a request for a revocation list
    CRL_TOO_LONG = "crl_too_long"  # H7
    SERVER_ACK_SHORT = "server_ack_short"  # P3, P6: a reply to a hello the server has not received

    # SSH
    NOT_SSH = "not_ssh"  # X9
    SSH_TOO_OLD = "ssh_too_old"
    SERVER_NOT_SSH = "server_not_ssh"  # X9
    SERVER_SSH_TOO_OLD = "server_ssh_too_old"

    # plaintext
    HTTP_PLAINTEXT = "http_plaintext"  # N4, T11, H1, H2, H3, H5, H6, H8

    # TCP and IP
    MALFORMED_PACKET = "malformed_packet"
    TRUNCATED_COPY = "truncated_copy"  # P17
    IP_OPTIONS = "ip_options"  # P12
    SYN_DATA = "syn_data"  # P9
    TCP_MD5 = "tcp_md5"  # P6
    URGENT_DATA = "urgent_data"  # P7
    TCP_CONFLICT = "tcp_conflict"  # P1
    MID_STREAM = "mid_stream"  # P14
    IPV6 = "ipv6"  # in `replay` alone: the kernel drops it before the engine

    # flows that were open
    RULE_REMOVED = "rule_removed"  # X1
    SEE_THRU_ENDED = "see_thru_ended"  # X1

    # limits and time
    TOO_MANY_SEGMENTS = "too_many_segments"  # P16
    HELLO_TIMEOUT = "hello_timeout"  # P16
    SERVER_TIMEOUT = "server_timeout"
    OVERLOADED = "overloaded"  # P16, X12
    TOO_MANY_FLOWS = "too_many_flows"  # X5
    INTERNAL_ERROR = "internal_error"


REASON_TEXT: dict[Reason, str] = {
    Reason.NAME_LISTED: "the name is listed and the destination is one of its addresses",
    Reason.PATTERN_LISTED: "a listed pattern matches the name, and the destination is one of its addresses",
    Reason.ADDRESS_LISTED: "the destination is an address of a listed name",
    Reason.CRL_LISTED: "the request is for a public CA's revocation list, at an address of the CA's host",
    Reason.OCSP_LISTED: "the request asks a public CA's OCSP responder for a certificate's status, at its address",
    Reason.SERVER_AGREED: "the server's reply agrees with the client's hello",
    Reason.SEE_THRU: "see-thru lets this protocol pass without an inspection",
    Reason.POLICY_NOT_LOADED: "no policy has been read from AWS yet",
    Reason.CLIENT_UNKNOWN: "no network interface of this VPC has the source address",
    Reason.CLIENT_NOT_ANNOTATED: "none of the client's Security Groups has an annotated egress rule",
    Reason.PORT_NOT_LISTED: "none of the client's Security Groups has an annotated rule for this port",
    Reason.PROTOCOL_NOT_SUPPORTED: "only TCP can be allowed by an annotation",
    Reason.QUIC: "QUIC is refused so that the client falls back to TLS over TCP",
    Reason.DESTINATION_PRIVATE: "the destination is private, link-local or reserved",
    Reason.DESTINATION_NOT_IN_RULE: "the name is listed, but not for this destination: see the rule's CIDR",
    Reason.NAME_NOT_LISTED: "the name is not listed for this port",
    Reason.NAME_UNRESOLVED: "the name is listed, but the VPC resolver gives no address for it",
    Reason.LOOK_UPS_LIMITED: "the name was not looked up, for too many were wanted",
    Reason.ADDRESS_MISMATCH: "the destination is not an address of the name",
    Reason.ADDRESS_NOT_LISTED: "not even a SYN goes out: no name listed for the port has the destination's address",
    Reason.ANSWER_PRIVATE: "the name is listed, but resolves to private addresses only",
    Reason.NO_SNI: "the ClientHello carries no server_name",
    Reason.SNI_EMPTY: "the ClientHello carries an empty server_name",
    Reason.SNI_MULTIPLE: "the ClientHello carries more than one server_name, or one of an unknown type",
    Reason.SNI_BAD_CHARS: "the server_name is not a domain name",
    Reason.SNI_TOO_LONG: "the server_name or one of its labels is too long",
    Reason.SNI_IP_LITERAL: "the server_name is an IP address",
    Reason.HELLO_NAME_CHANGED: "the second ClientHello names another server than the first",
    Reason.NOT_TLS: "the client's first octets are not TLS",
    Reason.SSLV2_HELLO: "the ClientHello is in SSL 2.0 format",
    Reason.MALFORMED: "the ClientHello is malformed",
    Reason.EXT_DUPLICATE: "the ClientHello repeats an extension",
    Reason.HELLO_TOO_LONG: "the ClientHello is longer than we inspect",
    Reason.TLS_TOO_OLD: "the client offers nothing newer than TLS 1.1",
    Reason.ECH: "the ClientHello is encrypted (ECH), so its real name cannot be seen",
    Reason.SERVER_NOT_TLS: "the server's first octets are not TLS",
    Reason.SERVER_MALFORMED: "the ServerHello is malformed",
    Reason.SERVER_TLS_TOO_OLD: "the server chose a version older than TLS 1.2",
    Reason.SERVER_REFUSED: "the server refused the handshake with a TLS alert",
    Reason.SERVER_FIRST: "the server spoke before the client on a TLS rule",
    Reason.SERVER_NOT_HTTP: "the server's first octets are not an HTTP response",
    Reason.CRL_TOO_LONG: "the server sends more than a revocation list has",
    Reason.SERVER_ACK_SHORT: "the server replied without having received the whole hello",
    Reason.NOT_SSH: "the client's first octets are not an SSH identification string",
    Reason.SSH_TOO_OLD: "the client does not speak SSH 2.0",
    Reason.SERVER_NOT_SSH: "the server's first octets are not an SSH identification string",
    Reason.SERVER_SSH_TOO_OLD: "the server does not speak SSH 2.0",
    Reason.HTTP_PLAINTEXT: "plaintext HTTP is refused on every port",
    Reason.MALFORMED_PACKET: "the packet's headers contradict each other",
    Reason.TRUNCATED_COPY: "the packet is longer than can be inspected",
    Reason.IP_OPTIONS: "the packet carries IP options",
    Reason.SYN_DATA: "the SYN carries data",
    Reason.TCP_MD5: "the segment carries a TCP MD5 signature",
    Reason.URGENT_DATA: "the segment carries urgent data",
    Reason.TCP_CONFLICT: "a retransmission differs from what was inspected",
    Reason.MID_STREAM: "the flow was not seen from its start",
    Reason.RULE_REMOVED: "the flow was open, and is ended: no rule allows it any more",
    Reason.SEE_THRU_ENDED: "the flow was open, and is ended: see-thru let it pass, and is over",
    Reason.IPV6: "IPv6 is refused until it can be filtered",
    Reason.TOO_MANY_SEGMENTS: "the hello comes in more pieces than we hold",
    Reason.HELLO_TIMEOUT: "the client did not finish its hello in time",
    Reason.SERVER_TIMEOUT: "the server did not finish its reply in time",
    Reason.OVERLOADED: "a table of the engine is full",
    Reason.TOO_MANY_FLOWS: "the client opens flows faster than one client may",
    Reason.INTERNAL_ERROR: "the engine failed on this packet: please report it",
}

# What a fresh answer from DNS or AWS may change.
AWAITABLE = frozenset({Reason.ADDRESS_MISMATCH, Reason.NAME_UNRESOLVED, Reason.ANSWER_PRIVATE, Reason.CLIENT_UNKNOWN})

# See-thru lets a client reach what its rules do not list. It never lets anybody reach the VPC
# itself, nor lets a packet pass that cannot be read.
NEVER_SEEN_THRU = frozenset(
    {
        Reason.POLICY_NOT_LOADED,
        Reason.CLIENT_UNKNOWN,
        Reason.DESTINATION_PRIVATE,
        Reason.MALFORMED_PACKET,
        Reason.TRUNCATED_COPY,
        Reason.IP_OPTIONS,
        Reason.SYN_DATA,
        Reason.TCP_MD5,
        Reason.MID_STREAM,
        Reason.IPV6,
        Reason.OVERLOADED,
        Reason.TOO_MANY_FLOWS,
        Reason.INTERNAL_ERROR,
    }
)
