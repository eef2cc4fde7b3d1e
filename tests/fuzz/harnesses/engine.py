"""The engine: whatever packets, answers and times come in whatever order, the witness sees nothing it must not see.

The octets are a tape: what is known and talked about, then one move after the other.
"""

from appliance.command import SetVerdict, Verdict
from appliance.engine import Origin
from appliance.limits import Limits
from tests.fuzz.tape import Tape
from tests.playbook import (
    ACK,
    CLIENT,
    ELSEWHERE,
    GIT,
    HELLO,
    MD5_OPTION,
    NAME,
    PSH,
    REPLY,
    RETRY,
    SERVER,
    SSH,
    STRANGER,
    Log,
    answer,
    make_policy,
)
from tests.witness import CONVERSATIONS, Witness

MAX = 1024
WORDS = (HELLO, REPLY, RETRY, SSH)

_BOUNDS = {"flows": 6, "flows_per_client": 4, "held_packets": 24, "held_per_flow": 12, "stream_segments": 64}
LIMITS = (Limits(**_BOUNDS), Limits(**_BOUNDS, stream_octets=600))  # octets: less than the longest conversation has
KNOWN = ((answer(NAME, SERVER), answer(GIT, SERVER)), (answer(NAME, SERVER),), ())
TALKS = tuple(CONVERSATIONS)

# Each may be asked for by its place here; what it reads from the tape is said where it is carried out.
MOVES = (
    *("client", "server", "client says", "server says", "packet", "answer", "policy", "aws"),
    *("wait", "who", "ports", "syn", "flags", "spoil", "received"),
)
ANSWERS = (
    *((NAME, (SERVER,), ""), (NAME, (ELSEWHERE,), ""), (NAME, (), ""), (NAME, (), "timed out")),
    *((GIT, (SERVER,), ""), (GIT, (ELSEWHERE,), ""), (NAME, (SERVER, ELSEWHERE), "")),
)
POLICIES = tuple(make_policy(clients) for clients in ((CLIENT,), (CLIENT, STRANGER), ()))
WAITS = (0.1, 1.1, 2.1, 5.1, 10.1, 61.0)  # seconds
PORTS = (443, 22, 8443, 80)
OPTIONS = (b"", MD5_OPTION, b"\x01\x01\x08\x0a" + bytes(8))


def tape(talk: str, *moves: tuple, limits: int = 0, known: int = 0) -> bytes:
    """Return the octets of a story: each move by its name, and what it reads, in octets or as 16-bit numbers."""
    octets = bytearray((limits, known, TALKS.index(talk)))
    for name, *arguments in moves:
        octets.append(MOVES.index(name))
        for argument in arguments:
            octets += argument if isinstance(argument, bytes) else argument.to_bytes(2, "big")
    return bytes(octets)


def check(octets: bytes) -> str:
    story = Tape(octets)
    limits = story.choose(LIMITS)
    play = Story(limits=limits, answers=story.choose(KNOWN))
    play.talk(story.choose(TALKS))
    while not story.is_over:
        play.move(story)
        play.check_limits()
    play.finish()
    return "opened" if play.opened else "refused" if play.refused else "nothing"


class Story(Witness):
    """A witness that carries out what a tape says."""

    opened = refused = False

    def talk(self, name: str) -> None:
        self.octets = CONVERSATIONS[name][:2]
        self.flags, self.options = ACK | PSH, b""
        self.received = len(self.octets[0])
        self.spoilt = (0, 0)

    def told(self, commands) -> list:
        told = super().told(commands)
        self.opened |= any(isinstance(each, SetVerdict) and each.verdict is Verdict.ALLOW for each in told)
        self.refused |= any(isinstance(each, Log) and each.outcome == "disallowed" for each in told)
        return told

    def move(self, story: Tape) -> None:
        match story.choose(MOVES):
            case "client":
                at, size = story.number(2), story.number(2)
                self.client(self._piece(0, at, size), at, flags=self.flags, options=self.options)
            case "server":
                at, size = story.number(2), story.number(2)
                payload = self._piece(1, at, size)
                self.server(payload, at, received=self.received, flags=self.flags, options=self.options)
            case "client says":
                at = story.number(2)
                self.client(story.take(story.number()), at, flags=self.flags, options=self.options)
            case "server says":
                at = story.number(2)
                payload = story.take(story.number())
                self.server(payload, at, received=self.received, flags=self.flags, options=self.options)
            case "packet":
                origin = story.choose(tuple(Origin))
                self.queued(origin, story.take(story.number()), 0 if origin is Origin.GATE else self.isn)
            case "answer":
                name, addresses, error = story.choose(ANSWERS)
                self.answers(answer(name, *addresses, error=error))
            case "policy":
                self.policy(story.choose(POLICIES))
            case "aws":
                self.aws_answered(story.choose((CLIENT, STRANGER)))
            case "wait":
                self.wait(story.choose(WAITS))
            case "who":
                self.address, self.peer = story.choose((CLIENT, STRANGER)), story.choose((SERVER, ELSEWHERE))
                self.port = story.choose(PORTS)
            case "ports":
                self.client_port, self.isn = 40000 + story.number() % 8, self.isn + 999 * (story.number() & 1)
            case "syn":
                flags = story.number()
                self.syn(story.take(story.number() & 3), flags=flags)
            case "flags":
                self.flags, self.options = story.number() & 0x3F, story.choose(OPTIONS)
            case "spoil":
                self.spoilt = story.number(2), story.number()
            case "received":
                self.received = story.number(2)

    def _piece(self, side: int, at: int, size: int) -> bytes:
        """Return octets of the conversation, one of them changed if the tape said so."""
        place, change = self.spoilt
        octets = self.octets[side]
        if change and place < len(octets):
            octets = octets[:place] + bytes((octets[place] ^ change,)) + octets[place + 1 :]
        return octets[at : at + size]
