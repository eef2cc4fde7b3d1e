"""What the first octets of each direction say, as facts the engine can decide on.

`wire` knows the formats, `policy` knows the names; this module lies between: it looks at the octets
collected so far and says what they are, or that more are needed, or why they must be refused.
Nothing here raises for what a peer sent. Everything is pure.
"""

from dataclasses import dataclass

from appliance.errors import InvalidName, Malformed
from appliance.policy.fqdn import Fqdn
from appliance.reason import Reason
from appliance.recall import Recall
from appliance.wire import http, sniff, ssh, tls
from appliance.wire.fetch import awaits_body
from appliance.wire.groups import POST_QUANTUM

TLS_1_2 = 0x0303


@dataclass(frozen=True, slots=True)
class Hello:
    """What a client opened with."""

    protocol: str  # tls, ssh, http or unknown
    version: str = ""  # newest version offered, such as "TLS 1.3" or "2.0"
    name: str = ""  # server_name, or the Host of a plaintext request
    end: int = 0  # octets of the stream that it covers
    refusal: Reason | None = None  # why it can never be allowed, whatever is listed
    detail: str = ""
    request: http.HttpRequest | None = None  # of plaintext HTTP
    fqdn: Fqdn | None = None  # the name, if it is one that could be listed


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a server replied with."""

    version: str = ""  # version chosen
    end: int = 0  # octets of the stream that it covers
    refusal: Reason | None = None
    detail: str = ""
    is_retry: bool = False  # a HelloRetryRequest: another ClientHello must follow
    is_final: bool = True  # False: a warning before the reply proper
    is_post_quantum: bool | None = None  # whether the keys agreed are; None: no ServerHello says


class Inspector:
    """The functions below, with a memory: most hellos differ from an earlier one in nothing that counts."""

    def __init__(self, *, allow_ech: bool) -> None:
        self._allow_ech = allow_ech  # for good: what is remembered was judged by it
        self._hellos: Recall[Hello] = Recall(of_clients=True)
        self._replies: Recall[Greeting] = Recall(of_clients=False)

    def client(self, stream: bytes) -> Hello | None:
        """Return what `inspect_client` does."""
        hello = self._hellos.find(stream)
        if hello is None:
            hello = inspect_client(stream, allow_ech=self._allow_ech)
            if hello is not None and hello.protocol == "tls" and hello.refusal is None:
                self._hellos.remember(stream, hello.end, hello)
        return hello

    def second_hello(self, stream: bytes, start: int) -> Hello | None:
        """Return what `inspect_second_hello` does."""
        return inspect_second_hello(stream, start, allow_ech=self._allow_ech)

    def server(self, protocol: str, stream: bytes, *, after_retry: bool = False) -> Greeting | None:
        """Return what `inspect_server` does."""
        if protocol != "tls" or after_retry:
            return inspect_server(protocol, stream, after_retry=after_retry)
        reply = self._replies.find(stream)
        if reply is None:
            reply = inspect_server(protocol, stream)
            if reply is not None and reply.refusal is None and not reply.is_retry and reply.is_final:
                self._replies.remember(stream, reply.end, reply)
        return reply


def inspect_client(stream: bytes, *, allow_ech: bool = False) -> Hello | None:
    """Return what the client opened with, or None while octets are missing.

    Args:
        stream: octets from the start of the client's direction, in order, without gaps.
    """
    protocol = sniff.sniff(stream)
    if protocol is None:
        return None
    if protocol == "tls":
        return _inspect_client_hello(stream, allow_ech=allow_ech)
    if protocol == "ssh":
        return _inspect_client_identification(stream)
    if protocol == "http":
        return _inspect_request(stream)
    return Hello("unknown", end=len(stream), refusal=_not_tls(stream))


def _not_tls(stream: bytes) -> Reason:
    """Return the most telling reason why the octets are not a TLS ClientHello."""
    try:
        tls.frame_client_hello(stream)
    except Malformed as fault:
        return Reason(fault.code)
    return Reason.NOT_TLS


def _inspect_client_hello(stream: bytes, *, allow_ech: bool) -> Hello | None:
    try:
        framed = tls.frame_client_hello(stream)
        if framed is None:
            return None
        return _judge_client_hello(tls.parse_client_hello(framed.body), framed.end, allow_ech=allow_ech)
    except Malformed as fault:
        return Hello("tls", end=len(stream), refusal=Reason(fault.code), detail=fault.message)


def _judge_client_hello(hello: tls.ClientHello, end: int, *, allow_ech: bool) -> Hello:
    """Return the facts of a well-formed hello, in the order of README, How a decision is made."""
    best = hello.best_version
    refusal = None
    if best < TLS_1_2:
        refusal = Reason.TLS_TOO_OLD
    elif hello.offers_ech and not allow_ech:
        refusal = Reason.ECH
    elif hello.server_name is None:
        refusal = Reason.NO_SNI
    name = hello.server_name or ""
    return Hello("tls", tls.version_name(best), name, end, refusal, fqdn=_listable(name))


def _listable(name: str) -> Fqdn | None:
    try:
        return Fqdn.parse(name)
    except InvalidName:  # such as a single label: legal, but in nobody's list
        return None


def inspect_second_hello(stream: bytes, start: int, *, allow_ech: bool = False) -> Hello | None:
    """Return the ClientHello that answers a HelloRetryRequest, or None while octets are missing.

    Args:
        stream: octets from the start of the client's direction.
        start: where the first hello ended.
    """
    try:
        framed = tls.frame_retry(stream, start)
        if framed is None:
            return None
        return _judge_client_hello(tls.parse_client_hello(framed.body), framed.end, allow_ech=allow_ech)
    except Malformed as fault:
        return Hello("tls", end=len(stream), refusal=Reason(fault.code), detail=fault.message)


def _inspect_client_identification(stream: bytes) -> Hello | None:
    try:
        identification = ssh.frame_client_identification(stream)
    except Malformed as fault:
        return Hello("ssh", end=len(stream), refusal=Reason(fault.code), detail=fault.message)
    if identification is None:
        return None
    refusal = None if identification.proto == "2.0" else Reason.SSH_TOO_OLD
    return Hello("ssh", identification.proto, "", identification.end, refusal)


def _inspect_request(stream: bytes, *, is_whole: bool = False) -> Hello | None:
    if awaits_body(stream) and not is_whole:
        return None
    try:
        request = http.parse_request(stream, is_whole=is_whole)
    except Malformed as fault:
        return Hello("http", end=len(stream), refusal=Reason.HTTP_PLAINTEXT, detail=fault.message)
    if request is None:
        return None
    # Host is a name or an address with a port or without (RFC 9110 section 7.2); a bracketed one is IPv6.
    name = request.host if request.host.startswith("[") else request.host.partition(":")[0]
    return Hello(
        "http", name=name, end=len(stream), refusal=Reason.HTTP_PLAINTEXT, request=request, fqdn=_listable(name)
    )


def inspect_end_of_request(stream: bytes) -> Hello | None:
    """Return the plaintext request that a client has begun and will not go on with; None if it is none."""
    return _inspect_request(stream, is_whole=True) if sniff.sniff(stream) == "http" else None


def inspect_server(protocol: str, stream: bytes, *, after_retry: bool = False) -> Greeting | None:
    """Return what the server replied with, or None while octets are missing.

    Args:
        protocol: what the client speaks: tls or ssh.
        stream: octets of the server's direction, from where the reply must begin.
        after_retry: a HelloRetryRequest came before it.
    """
    try:
        return (
            _inspect_reply(stream, after_retry=after_retry)
            if protocol == "tls"
            else _inspect_server_identification(stream)
        )
    except Malformed as fault:
        return Greeting(end=len(stream), refusal=Reason(fault.code), detail=fault.message)


def _inspect_reply(stream: bytes, *, after_retry: bool) -> Greeting | None:
    reply = tls.frame_server_reply(stream, after_retry=after_retry)
    if reply is None:
        return None
    if isinstance(reply, tls.Alert):
        if reply.is_warning:  # TLS 1.2 servers warn of an unknown name and go on
            return Greeting(end=reply.end, is_final=False)
        return Greeting(end=reply.end, refusal=Reason.SERVER_REFUSED, detail=reply.name)
    hello = tls.parse_server_hello(reply.body)
    refusal = Reason.SERVER_TLS_TOO_OLD if hello.version < TLS_1_2 else None
    return Greeting(
        tls.version_name(hello.version),
        reply.end,
        refusal,
        is_retry=hello.is_retry,
        is_post_quantum=None if hello.is_retry else hello.key_share_group in POST_QUANTUM,
    )


def _inspect_server_identification(stream: bytes) -> Greeting | None:
    identification = ssh.frame_server_identification(stream)
    if identification is None:
        return None
    refusal = None if identification.proto in {"2.0", "1.99"} else Reason.SERVER_SSH_TOO_OLD
    return Greeting(identification.proto, identification.end, refusal)
