"""The self-test of the data plane: one flow that must pass, and one that must not.

It runs in a sandbox (`edge/sandbox.py`): the ruleset as the appliance renders it, a worker as the appliance starts it,
real TCP connections through both. Nothing of this machine's own network, ruleset or queues is touched. A kernel, an nft
or a build of the engine that does not filter is found here, before anybody relies on it.

The process that calls `run_trial` is of no use afterwards: it has moved into the sandbox.
"""

import contextlib
import json
import select
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from appliance.edge import sandbox
from appliance.edge.channel import WorkerChannel
from appliance.edge.netfilter import Netfilter, NetfilterConfig
from appliance.errors import DiscriminatError, TrialError
from appliance.limits import Limits
from appliance.messages import Configure, FlowLines, NewAnswers, NewPolicy, NewPreferences, Ready, Stop
from appliance.policy.addresses import Answer
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import EgressRule, Inventory, NetworkInterface, SecurityGroup
from appliance.policy.policy import compile_policy
from appliance.policy.preferences import DEFAULTS
from appliance.reason import Reason

LISTED, OTHER = "listed.example.com", "other.example.com"
PATIENCE = 10.0  # seconds for one step in the network; the real thing takes milliseconds
START_PATIENCE = 40.0  # seconds for the worker to start; under emulation that takes ten

# Handshake of TLS 1.2, ServerHello, a cipher suite of that version, no extensions (RFC 5246 section 7.4.1.3).
_SERVER_BODY = b"\x03\x03" + bytes(32) + b"\x00" + b"\xc0\x2f" + b"\x00"
_SERVER_MESSAGE = b"\x02" + len(_SERVER_BODY).to_bytes(3) + _SERVER_BODY
SERVER_HELLO = b"\x16\x03\x03" + len(_SERVER_MESSAGE).to_bytes(2) + _SERVER_MESSAGE

_EXPECTED = {LISTED: {Reason.NAME_LISTED, Reason.SERVER_AGREED}, OTHER: {Reason.NAME_NOT_LISTED}}


@dataclass(frozen=True, slots=True)
class Findings:
    """What was tested, and what came of it. `failure`: empty if all is well."""

    failure: str
    hint: str
    nft_queue: bool  # as in NetfilterConfig
    isn_reversed: bool
    seconds: float

    def document(self) -> dict[str, object]:
        """Return the findings for programs, as JSON values."""
        return {"passed": not self.failure, "summary": "" if self.failure else self.summary, **asdict(self)}

    @property
    def summary(self) -> str:
        """What is to say when all is well."""
        variant = "the nft queue statement" if self.nft_queue else "iptables NFQUEUE rules"
        return f"a listed name got through and another was reset, through {variant}, in {self.seconds} s"


def run_trial() -> Findings:
    """Move this process into a sandbox, and test there. Takes a second; never raises for what it finds."""
    began = time.monotonic()
    netfilter = Netfilter()
    failure = hint = ""
    nft_queue = isn_reversed = False
    try:
        ends = sandbox.enter(clients=2, wait=PATIENCE)
        with started_worker() as channel:
            nft_queue, isn_reversed = netfilter.has_nft_queue(), netfilter.has_reversed_isn()
            config = NetfilterConfig((sandbox.CLIENT_NETWORK,), 1, nft_queue=nft_queue, isn_reversed=isn_reversed)
            netfilter.load(config)
            rules = (EgressRule("tcp", sandbox.PORT, sandbox.PORT, "0.0.0.0/0", f"discriminat:tls:{LISTED}"),)
            answers = tuple(Answer(Fqdn.parse(name), (sandbox.SERVER,), 3600.0) for name in (LISTED, OTHER))
            put_in_force(channel, netfilter, config, rules, answers)
            server = _expect_pass(ends.clients[0], ends.listener)
            _expect_refusal(ends.clients[1], ends.listener)
            _expect_events(channel)
        for sender, receiver in ((ends.clients[0], server), (server, ends.clients[0])):
            sender.sendall(b"more")
            _expect(receiver, b"more", "what follows in an allowed flow, which the kernel forwards by itself,")
    except DiscriminatError as fault:
        failure, hint = fault.message, fault.hint
    except OSError as fault:
        failure = str(fault)
    return Findings(failure, hint, nft_queue, isn_reversed, round(time.monotonic() - began, 2))


@contextmanager
def started_worker() -> Iterator[WorkerChannel]:
    """Start a worker as `crew.py` does, here in the box, for the duration of a block."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-m", "appliance", "worker", str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=(theirs.fileno(),))  # noqa: S603 -- our own words
    channel = WorkerChannel(ours)
    try:
        with contextlib.suppress(EOFError):
            yield channel
            channel.send(Stop(0.0))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        if process.returncode != 0:
            raise TrialError(f"the worker ended by itself, or not at all: exit code {process.returncode}")
    finally:
        process.kill()
        process.wait()


def put_in_force(
    channel: WorkerChannel,
    netfilter: Netfilter,
    config: NetfilterConfig,
    rules: tuple[EgressRule, ...],
    answers: tuple[Answer, ...],
) -> None:
    """Let the client reach what the rules of its only group list, and wait until the worker knows."""
    interface = NetworkInterface("eni-trial", ("sg-trial",), (sandbox.CLIENT,), ())
    policy = compile_policy(Inventory((SecurityGroup("sg-trial", "trial", rules),), (interface,)))
    channel.send(Configure(0, "trial", Limits(), grace=0.0, isn_reversed=config.isn_reversed))
    channel.send(NewPreferences(DEFAULTS))
    channel.send(NewAnswers(answers))
    channel.send(NewPolicy(policy))
    for message in _messages(channel, START_PATIENCE):
        if isinstance(message, Ready):
            break
    ports = [(sandbox.CLIENT, rule.from_port) for rule in rules if rule.from_port is not None]
    netfilter.open_ports(ports, (), config.clients)


def _expect_pass(client: socket.socket, listener: socket.socket) -> socket.socket:
    """Let a client greet the listed name; both ends must get what the other sent. Return the server's end."""
    hello = _client_hello(LISTED)
    server = _connect(client, listener)
    client.sendall(hello)
    _expect(server, hello, "the hello of an allowed flow")
    server.sendall(SERVER_HELLO)
    _expect(client, SERVER_HELLO, "the reply to an allowed flow")
    return server


def _expect_refusal(client: socket.socket, listener: socket.socket) -> None:
    """Let a client greet another name; both ends must be reset, and the server must not have got an octet."""
    server = _connect(client, listener)
    client.sendall(_client_hello(OTHER))
    for end, side in ((server, "server"), (client, "client")):
        try:
            got = end.recv(65536)
        except ConnectionResetError:
            continue
        except TimeoutError:
            raise TrialError(f"the {side} of a refused flow was not reset") from None
        raise TrialError(f"the {side} of a refused flow got {len(got)} octets, or an end in place of a reset")


def _expect_events(channel: WorkerChannel) -> None:
    """Wait for the log lines of both flows, and compare their codes."""
    codes: dict[str, set[str]] = {name: set() for name in _EXPECTED}
    for message in _messages(channel, PATIENCE):
        if isinstance(message, FlowLines):
            for line in message.lines.splitlines():
                event = json.loads(line)
                codes.setdefault(event["dhost"], set()).add(event["code"])
        if codes == _EXPECTED:
            return
        if any(codes[name] - _EXPECTED.get(name, set()) for name in codes):
            raise TrialError(f"the log has other reasons than it should: {codes}")


def _connect(client: socket.socket, listener: socket.socket) -> socket.socket:
    """Connect, and return the server's end."""
    try:
        client.connect((socket.inet_ntoa(sandbox.SERVER.to_bytes(4)), sandbox.PORT))
        server, _ = listener.accept()
    except TimeoutError:
        raise TrialError("an annotated port cannot be connected to") from None
    server.settimeout(PATIENCE)
    return server


def _expect(end: socket.socket, octets: bytes, what: str) -> None:
    got = b""
    while len(got) < len(octets):
        try:
            more = end.recv(len(octets) - len(got))
        except OSError as fault:
            raise TrialError(f"{what} did not get through: {fault.strerror or 'timeout'}") from None
        if not more:
            raise TrialError(f"{what} did not get through: the connection has ended")
        got += more
    if got != octets:
        raise TrialError(f"{what} has changed on its way")


def _messages(channel: WorkerChannel, seconds: float) -> Iterator[object]:
    """Yield what the worker sends.

    Raises:
        TrialError: that took longer than so many seconds.
        EOFError: the worker is gone.
    """
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        select.select([channel], [], [], left)
        yield from channel.receive()
    raise TrialError(f"the worker did not say what was waited for within {seconds:.0f} s")


def _client_hello(name: str) -> bytes:
    """Return what this machine's own TLS says to a server of that name."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(incoming, outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()
