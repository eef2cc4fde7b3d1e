"""The closing: how the inspection of a flow ends, allowed or denied, and what is logged about it.

Everything here is pure. After the end a flow is remembered for a while, for packets of it that were
queued before the kernel knew; they get no more than they need (evasion X3: the next connection may
have the same ports and numbers).
"""

from appliance.command import Command, Emit, Verdict
from appliance.event import add_request, add_status
from appliance.flow import Flow, FlowTable, State, offset_of
from appliance.holding import Holding, resets
from appliance.inspection import Greeting, inspect_end_of_request
from appliance.judge import Judge, no
from appliance.limits import Limits
from appliance.policy.decision import Decision
from appliance.policy.entry import SEEN_THRU, EntryNumbers
from appliance.reason import Reason
from appliance.standing import Standing
from appliance.waiting import Waiting
from appliance.wire.ip import Packet
from appliance.wire.sniff import sniff

SILENT = Greeting()  # no reply was read


class Closing:
    """Ends flows: tells the log and both ends, and gives up what is held."""

    __slots__ = ("_entries", "_flows", "_holding", "_judge", "_limits", "_standing", "_waiting")

    def __init__(  # noqa: PLR0917 -- the parts of the engine
        self, standing: Standing, judge: Judge, flows: FlowTable, holding: Holding, waiting: Waiting, limits: Limits
    ) -> None:
        self._standing = standing
        self._judge = judge
        self._entries = EntryNumbers()
        self._flows = flows
        self._holding = holding
        self._waiting = waiting
        self._limits = limits

    def allow(self, flow: Flow, greeting: Greeting, now: float, out: list[Command]) -> None:
        """Open the flow for good, both sides agree: unless its rule went while the server's reply was awaited (X1)."""
        if flow.hello is None or flow.ruling is None:
            return
        if flow.judged_by is not self._standing.policy:
            decision = self._judge.decide(flow, now)
            if not decision.allow:
                self.deny(flow, "client", decision, now, out)
                return
            flow.ruling = decision
        out.append(self._server_event(flow, Decision(allow=True, reason=Reason.SERVER_AGREED), greeting))
        entry = self._entries.of(flow.hello.protocol, flow.ruling.entry, flow.key[3])
        self._finish(flow, State.ALLOWED, now, out, entry)

    def deny(
        self,
        flow: Flow,
        side: str,
        decision: Decision,
        now: float,
        out: list[Command],
        *,
        greeting: Greeting = SILENT,
    ) -> None:
        """Log a refusal and end the flow, unless see-thru lets it pass. `greeting`: what the server said, if read."""
        self._log(flow, side, decision, greeting, out)
        if self._standing.lets_through(flow.key[0], flow.key[2], decision.reason):
            if side == "client" and flow.hello is not None and flow.hello.request and flow.state is not State.PLAINTEXT:
                self.overhear(flow, decision, now, out)
            else:
                self.leave(flow, now, out)
            return
        out += resets(flow)
        self._finish(flow, State.DENIED, now, out)

    def give_up(self, flow: Flow, now: float, out: list[Command]) -> None:
        """Deny a flow whose client did not finish its hello in time; what it said of a request is logged."""
        flow.hello = inspect_end_of_request(flow.client.contiguous)
        request = flow.hello
        decision = no(Reason.HELLO_TIMEOUT) if request is None else no(Reason.HTTP_PLAINTEXT, name=request.name)
        self.deny(flow, "client", decision, now, out)

    def overhear(self, flow: Flow, decision: Decision, now: float, out: list[Command]) -> None:
        """Let plaintext HTTP that see-thru lets pass go on, packet by packet, for the log wants its status."""
        flow.ruling = decision
        self._holding.release(flow, Verdict.PASS, out)
        self.go_on(flow, now)

    def go_on(self, flow: Flow, now: float) -> None:
        """Wait for the next packet of plaintext HTTP that passes."""
        self._waiting.forget(flow)
        flow.state = State.PLAINTEXT
        self._flows.arm(flow, self._limits.reply_wait, now)

    def leave(self, flow: Flow, now: float, out: list[Command]) -> None:
        """Look at a flow no longer. It opens for good by see-thru if a packet is held; if none is, it is forgotten."""
        self._finish(flow, State.ALLOWED, now, out)

    def end_quietly(self, flow: Flow, now: float, out: list[Command]) -> None:
        """Reset both ends of a flow that has served its purpose."""
        out += resets(flow)
        self._finish(flow, State.DENIED, now, out)

    def log_request(self, flow: Flow, decision: Decision, out: list[Command]) -> None:
        """Log what is decided about a client's plaintext request."""
        self._log(flow, "client", decision, SILENT, out)

    def log_status(self, flow: Flow, decision: Decision, code: int, out: list[Command]) -> None:
        """Log what a server answers to plaintext HTTP."""
        emit = self._server_event(flow, decision, SILENT)
        add_status(emit.event, code)
        out.append(emit)

    def supersede(self, flow: Flow, now: float, out: list[Command]) -> None:
        """Forget a flow whose ports a new connection uses. A reset would hit the new one."""
        if not flow.is_decided:
            side, reason = ("server", Reason.SERVER_TIMEOUT) if flow.ruling else ("client", Reason.HELLO_TIMEOUT)
            if flow.state is not State.PLAINTEXT or flow.greeting is None:  # of a fetch with a reply all is told
                self._log(flow, side, no(reason, detail="another connection took its ports"), SILENT, out)
            self._finish(flow, State.DENIED, now, out)
        self._flows.remove(flow)

    def verdict_after(self, flow: Flow, packet: Packet, *, from_client: bool) -> Verdict:
        """Return the verdict on a packet of a decided flow that was queued before the kernel knew.

        Never ALLOW: another connection with the same ports and the same initial sequence number may
        have begun since. What it sends passes as far as it says the same as the one that was inspected.
        """
        if flow.state is State.DENIED:
            return Verdict.DROP
        if from_client:
            offset = offset_of(packet.sequence, flow.base)
            hello = flow.client.contiguous[: flow.hello_end]
            inspected = hello[min(max(offset, 0), len(hello)) :]  # mypyc takes no start behind the end
            if offset < 0 or packet.payload[: len(inspected)] != inspected[: len(packet.payload)]:
                return Verdict.DENY
        return Verdict.PASS

    def _log(self, flow: Flow, side: str, decision: Decision, greeting: Greeting, out: list[Command]) -> None:
        hello = flow.hello
        if side == "server":
            out.append(self._server_event(flow, decision, greeting))
        elif hello is None:
            protocol = sniff(flow.client.contiguous) or "unknown"
            out.append(self._standing.event("client", flow.key, decision, protocol=protocol))
        else:
            emit = self._standing.event("client", flow.key, decision, protocol=hello.protocol, version=hello.version)
            if hello.request is not None:
                add_request(emit.event, hello.request.method, hello.request.path, hello.request.user_agent)
            out.append(emit)

    def _server_event(self, flow: Flow, decision: Decision, greeting: Greeting) -> Emit:
        """Return the event about the server's side; the rule it goes by is the client's."""
        if flow.ruling is not None:
            ruling = flow.ruling
            decision = decision._replace(name=ruling.name, gid=ruling.gid, rule=ruling.rule)
        if flow.hello is not None:
            protocol = flow.hello.protocol
        else:
            protocol = "ssh" if flow.server is not None and flow.server.contiguous.startswith(b"SSH-") else "unknown"
        return self._standing.event(
            "server",
            flow.key,
            decision,
            protocol=protocol,
            version=greeting.version,
            is_post_quantum=greeting.is_post_quantum,
        )

    def _finish(self, flow: Flow, state: State, now: float, out: list[Command], entry: int = SEEN_THRU) -> None:
        """Give up what is held; remember the flow for the packets of it that are queued already."""
        marked = bool(flow.held) or state is State.DENIED
        self._holding.release(flow, Verdict.ALLOW if state is State.ALLOWED else Verdict.DROP, out, entry)
        self._waiting.forget(flow)
        self._flows.settle(flow, state)
        if marked:
            self._flows.arm(flow, self._limits.linger, now)
        else:
            self._flows.remove(flow)  # no packet told the kernel: the next one is looked at afresh
