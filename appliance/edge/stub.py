"""One look-up: asks name servers for the addresses of a name, follows CNAMEs, and refuses what is too large to parse.

Source: RFC 1035 (messages), RFC 2308 (negative answers), RFC 6891 (EDNS).
"""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from appliance.address import parse_ipv4
from appliance.policy.addresses import Answer
from appliance.policy.fqdn import Fqdn

NXDOMAIN: Final = "nxdomain"  # the name, or the target of its CNAME, does not exist
NO_ADDRESS: Final = "no_address"  # it exists, but has no A record
SERVFAIL: Final = "servfail"  # every name server refused, failed or answered nonsense
TIMEOUT: Final = "timeout"  # no name server answered in time, or none could be reached
TOO_LARGE: Final = "too_large"  # more octets or records than an honest name has; it was not parsed

EDNS_PAYLOAD: Final = 1232  # octets: fits the smallest IPv6 MTU, so it is never fragmented (DNS flag day 2020)
OCTETS_MAX: Final = 8192  # of a response (ours)
RECORDS_MAX: Final = 256  # of a response, all sections (ours); an honest name has a few dozen addresses


class _TooLargeError(Exception):
    """A response that is not worth the time that parsing it takes."""


@dataclass(frozen=True, slots=True)
class ResolverLimits:
    """Bounds in time, number and rate. All of them are ours."""

    try_timeout: float = 2.0  # seconds, one query to one name server
    total_timeout: float = 4.0  # seconds, a look-up with all its tries and links
    chain: int = 16  # CNAME links followed
    refresh_floor: float = 5.0  # seconds: a shorter TTL is refreshed this often
    refresh_ceiling: float = 3600.0  # seconds: a longer TTL is refreshed this often
    jitter: float = 0.1  # share of the interval by which a refresh moves, either way
    negative_floor: float = 1.0  # seconds
    negative_ceiling: float = 30.0  # seconds: how long "there is no such name" is believed
    trouble: float = 5.0  # seconds: how long a failure to find out is left alone
    same_name: float = 1.0  # seconds between two queries for one name, however urgent
    backed_off: float = 300.0  # seconds: the longest that a listed name whose look-ups fail is left alone
    concurrency: int = 256  # background look-ups in flight
    failing_concurrency: int = 32  # those among them of names whose last look-up failed
    rate: float = 200.0  # background look-ups a second; AWS drops above 1,024 packets a second and interface
    urgent_concurrency: int = 256  # look-ups for held packets in flight
    client_concurrency: int = 32  # those among them that one client began
    client_calls: int = 320  # look-ups that one client began, those that wait for their turn included
    urgent_rate: float = 500.0  # look-ups for held packets a second, over all names, and at once
    recent: int = 4096  # answers remembered for look_up()


class Stub:
    """Asks name servers one question at a time, over UDP, and over TCP what UDP cut short."""

    def __init__(self, nameservers: Sequence[str], port: int, limits: ResolverLimits) -> None:
        if not nameservers:
            raise ValueError("a resolver needs a name server")
        self._nameservers = tuple(nameservers)
        self._port = port
        self._limits = limits

    async def resolve(self, name: Fqdn) -> Answer:
        """Return what the name servers say about a name: chains followed, TTL the least of all links."""
        limits = self._limits
        deadline = asyncio.get_running_loop().time() + limits.total_timeout
        target = dns.name.Name([*(label.encode("ascii") for label in name.labels), b""])
        seen = {target}
        ttl = limits.refresh_ceiling
        links = 0
        while True:
            reply, error = await self._ask(target, deadline)
            if reply is None:
                return Answer(name, (), limits.trouble, error)
            try:
                chain = reply.resolve_chaining()
            except dns.exception.DNSException:  # a loop within the response, or NXDOMAIN with an address
                return Answer(name, (), limits.trouble, SERVFAIL)
            ttl = min(ttl, *(float(link.ttl) for link in chain.cnames)) if chain.cnames else ttl
            if chain.answer is not None:
                addresses = tuple(parse_ipv4(record.address) for record in chain.answer)
                return Answer(name, addresses, float(min(ttl, chain.answer.ttl)))
            if reply.rcode() == dns.rcode.NXDOMAIN or not chain.cnames:
                ttl = min(max(chain.minimum_ttl, limits.negative_floor), limits.negative_ceiling)
                return Answer(name, (), ttl, NXDOMAIN if reply.rcode() == dns.rcode.NXDOMAIN else NO_ADDRESS)
            # The response ends in the middle of the chain: ask for the rest of it.
            links += len(chain.cnames)
            target = chain.canonical_name
            if target in seen or links > limits.chain:
                return Answer(name, (), limits.trouble, SERVFAIL)
            seen.add(target)

    async def _ask(self, target: dns.name.Name, deadline: float) -> tuple[dns.message.QueryMessage | None, str]:
        """Return the first usable response, or None and what was wrong with the last one."""
        loop = asyncio.get_running_loop()
        error = TIMEOUT
        for attempt in range(max(2, len(self._nameservers))):
            left = deadline - loop.time()
            if left <= 0:
                break
            server = self._nameservers[attempt % len(self._nameservers)]
            query = dns.message.make_query(target, dns.rdatatype.A, use_edns=0, payload=EDNS_PAYLOAD)
            try:
                async with asyncio.timeout(min(left, self._limits.try_timeout)):
                    reply = await self._exchange(query, server)
            except _TooLargeError:
                return None, TOO_LARGE
            except OSError:  # TimeoutError among them
                error = TIMEOUT
            except (dns.exception.DNSException, EOFError, ValueError):  # nonsense over TCP, or a connection cut
                error = SERVFAIL
            else:
                if reply.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                    return reply, ""
                error = SERVFAIL
        return None, error

    async def _exchange(self, query: dns.message.QueryMessage, server: str) -> dns.message.QueryMessage:
        """Return the response of one name server; the caller limits the time."""
        reply = await _exchange_udp(query, server, self._port)
        if reply.flags & dns.flags.TC:
            reply = await _exchange_tcp(query, server, self._port)
        if not isinstance(reply, dns.message.QueryMessage):
            raise dns.exception.FormError
        return reply


async def _exchange_udp(query: dns.message.Message, server: str, port: int) -> dns.message.Message:
    """Return the first datagram that answers the query; anything else that arrives is ignored.

    A socket of our own and not `dns.asyncquery.udp`: it is connected, so the kernel drops other
    senders' datagrams and reports a closed port at once, and it costs a third less (measured).
    """
    loop = asyncio.get_running_loop()
    arrived: asyncio.Future[dns.message.Message] = loop.create_future()
    wire = query.to_wire()

    def on_readable() -> None:
        try:
            octets = udp.recv(65535)
        except BlockingIOError:
            return
        except OSError as error:  # ICMP: nobody listens there
            if not arrived.done():
                arrived.set_exception(error)
            return
        if octets[:2] != wire[:2] or arrived.done():
            return
        if _is_too_large(octets):
            arrived.set_exception(_TooLargeError())
            return
        cut = len(octets) > 2 and octets[2] & 0x02  # TC: what follows the question may end anywhere
        try:
            reply = dns.message.from_wire(octets, question_only=bool(cut))
        except Exception:  # noqa: BLE001 -- whatever a forged datagram breaks, the right one may follow
            return
        if query.is_response(reply):
            arrived.set_result(reply)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as udp:
        udp.connect((server, port))
        loop.add_reader(udp.fileno(), on_readable)
        try:
            udp.send(wire)
            return await arrived
        finally:
            loop.remove_reader(udp.fileno())


async def _exchange_tcp(query: dns.message.Message, server: str, port: int) -> dns.message.Message:
    """Return the response over TCP (RFC 1035 section 4.2.2). Its length is looked at before it is read.

    Raises:
        OSError, EOFError, ValueError, dns.exception.DNSException: no connection, or no response.
    """
    reader, writer = await asyncio.open_connection(server, port)
    try:
        wire = query.to_wire()
        writer.write(len(wire).to_bytes(2) + wire)
        length = int.from_bytes(await reader.readexactly(2))
        if length > OCTETS_MAX:
            raise _TooLargeError
        octets = await reader.readexactly(length)
    finally:
        writer.close()
    if _is_too_large(octets):
        raise _TooLargeError
    reply = dns.message.from_wire(octets)
    if not query.is_response(reply):
        raise dns.exception.FormError
    return reply


def _is_too_large(octets: bytes) -> bool:
    """Tell by the length and the header's counts (RFC 1035 section 4.1.1): parsing would hold up the loop."""
    records = sum(int.from_bytes(octets[at : at + 2]) for at in (6, 8, 10))
    return len(octets) > OCTETS_MAX or records > RECORDS_MAX
