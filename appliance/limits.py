"""How much the engine keeps, and how long it waits. Everything here is pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the engine. All are ours; the seconds are measured from the event they follow."""

    flows: int = 65536  # flows in the table, decided ones that linger included
    flows_per_client: int = 4096  # undecided flows of one client
    held_packets: int = 2048  # packets without a verdict, over all flows
    held_per_flow: int = 64  # packets
    stream_octets: int = 24576  # octets of either direction that are kept
    stream_segments: int = 2048  # segments of either direction, repeated ones included
    hello_wait: float = 10.0  # seconds from the first segment to a complete hello
    look_up_wait: float = 5.0  # seconds for DNS or AWS to answer
    reply_wait: float = 60.0  # seconds from the hello to a complete reply
    crl_octets: int = 64 * 1024 * 1024  # octets of a server's reply to a request for a revocation list
    linger: float = 1.0  # seconds that a decided flow is remembered for packets already queued
    look_ups_per_flow: int = 3  # fresh look-ups while answers keep changing
    learnt_names: int = 8192  # names that patterns brought
    new_names_burst: float = 100.0  # look-ups for names that patterns brought, of one client, at once
    new_names_rate: float = 2.0  # the same a second
    names_per_look_up: int = 256  # SSH has no name in it: so many listed ones are asked at once, or endpoints of CRLs
    held_per_client: int = 16  # packets of a client that AWS is asked about
    held_syns_per_client: int = 256  # SYNs of a client whose destination is looked up
    unknown_clients: int = 4096  # addresses that are neither known nor asked about again
    unknown_client_memory: float = 5.0  # seconds for AWS to answer, and before it is asked again
    gate_events: int = 50  # log lines per tick about packets that belong to no flow
