"""How long it takes to compile a policy, and to decide by it, as names and patterns grow.

    python -m tests.bench.policy [NAMES PATTERNS]

Prints a line for 100 names and 10 patterns, one for 100,000 and 10,000 (or as many as are given), and the ratio of
their decisions. Neither the lab nor the network is needed. On a shared machine the ratio says more than the seconds.
"""

import gc
import random
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

from appliance.address import Ipv4
from appliance.edge.suffix_list import read_suffixes
from appliance.policy.addresses import AddressBook, Answer
from appliance.policy.decision import decide_name, decide_port
from appliance.policy.exposure import Guard
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import EgressRule, Inventory, NetworkInterface, SecurityGroup
from appliance.policy.policy import Policy, compile_policy
from appliance.reason import Reason

CLIENT, SERVER = Ipv4(0x0A00010A), Ipv4(0xCB00710A)
TCP = 6  # IANA protocol number
DECISIONS = 3000  # of each kind, in one round
ROUNDS = 5  # of which the quickest counts: others share the machine
ROOM = 200  # characters of names in one description
GROUPS = 5  # of the client, as many as AWS lets an interface have by default

# What a name has to do with the policy, and why it is decided as it is. Names of all the policy are not in the
# processor's caches, where the policy is large; those of a few are, so that their ratio tells of the work alone.
KINDS = {
    "listed": Reason.NAME_LISTED,
    "by a pattern": Reason.PATTERN_LISTED,
    "by none": Reason.NAME_NOT_LISTED,
    "listed, of a few": Reason.NAME_LISTED,
    "by a pattern, of a few": Reason.PATTERN_LISTED,
}
FEW = 10


class Figures(NamedTuple):
    """Seconds to compile, and microseconds for one decision of each kind."""

    names: int
    patterns: int
    compiled: float
    decided: dict[str, float]


def pattern(number: int) -> str:
    """Return a pattern: of several shapes, many under one domain, and many domains."""
    shapes = (
        "*.s{}.example.net",
        "api-{}-*.example.net",
        "*-{}.example.net",
        "e*{}z.d{}.example.org",
        "v{}-+.example.org",
    )
    return shapes[number % len(shapes)].format(number, number % 100)


def name_of(number: int) -> Fqdn:
    """Return a name that the pattern of this number matches."""
    return Fqdn.parse(pattern(number).replace("*", "q7").replace("+", "q"))


def inventory(names: int, patterns: int) -> Inventory:
    """Return a VPC with one client whose groups list so much."""
    texts = [f"host-{number}.region-{number % 20}.example.com" for number in range(names)]
    texts += [pattern(number) for number in range(patterns)]
    worn = []
    for at in range(GROUPS):  # each lists both kinds, however few there are: a client's groups are asked in turn
        rules = [
            EgressRule("tcp", 443, 443, f"0.0.0.0/{number % 33}", f"discriminat:tls:{description}")
            for number, description in enumerate(_descriptions(texts[at::GROUPS]))
        ]
        worn.append(SecurityGroup(f"sg-{at}", "", tuple(rules)))
    interface = NetworkInterface("eni-1", tuple(group.id for group in worn), (CLIENT,), ())
    return Inventory(tuple(worn), (interface,))


def _descriptions(texts: list[str]) -> Iterator[str]:
    taken: list[str] = []
    for text in texts:
        if sum(map(len, taken)) + len(taken) + len(text) > ROOM:
            yield ",".join(taken)
            taken = []
        taken.append(text)
    if taken:
        yield ",".join(taken)


def measure(*sizes: tuple[int, int]) -> list[Figures]:
    """Compile policies of so many names and patterns, and decide by them, in turns: others share the machine."""
    prepared = [_prepare(*size) for size in sizes]
    best = [dict.fromkeys(KINDS, float("inf")) for _ in sizes]
    for _ in range(ROUNDS):
        for (policy, asked, _), decided in zip(prepared, best, strict=True):
            for kind, reason in KINDS.items():
                decided[kind] = min(decided[kind], _decide(policy, asked[kind], reason))
    return [Figures(*size, each[2], decided) for size, each, decided in zip(sizes, prepared, best, strict=True)]


def _prepare(names: int, patterns: int) -> tuple[Policy, dict[str, list[Fqdn]], float]:
    """Return a policy, what to ask it, and the seconds that it took to compile."""
    given, guard = inventory(names, patterns), Guard(suffixes=read_suffixes())
    gc.collect()
    began = time.perf_counter()
    policy = compile_policy(given, guard)
    compiled = time.perf_counter() - began
    assert (len(policy.names), len(policy.patterns), policy.rejections) == (names, patterns, ())
    chance = random.Random(1)
    names_of_all = list(map(str, sorted(policy.names)))
    # Names come from packets: none is an object of the policy's own, and as many are asked of a small policy.
    asked = {
        "listed": list(map(Fqdn.parse, chance.choices(names_of_all, k=DECISIONS))),
        "listed, of a few": list(map(Fqdn.parse, chance.choices(names_of_all[:FEW], k=DECISIONS))),
        "by a pattern, of a few": [name_of(chance.randrange(FEW)) for _ in range(DECISIONS)],
        "by a pattern": [name_of(chance.randrange(patterns)) for _ in range(DECISIONS)],
        "by none": [Fqdn.parse(f"x{number}-y.example.net") for number in range(DECISIONS)],
    }
    return policy, asked, compiled


def _decide(policy: Policy, asked: list[Fqdn], reason: Reason) -> float:
    """Return the microseconds that one decision takes."""
    book = AddressBook()
    for name in asked:
        book.learn(Answer(name, (SERVER,), 60.0), 0.0)
    began = time.perf_counter()
    for name in asked:
        rules = decide_port(policy, CLIENT, TCP, 443, SERVER)
        decision = decide_name(rules, name, SERVER, book, 1.0)  # type: ignore[arg-type]
    spent = time.perf_counter() - began
    assert decision.reason is reason
    return spent / len(asked) * 1e6


def main() -> None:
    """Print the figures of a small policy and of a large one."""
    names, patterns = map(int, sys.argv[1:3] or (100_000, 10_000))
    few, many = measure((100, 10), (names, patterns))
    for figures in (few, many):
        decided = ", ".join(f"{kind} {figures.decided[kind]:.1f} us" for kind in KINDS)
        print(f"{figures.names} names, {figures.patterns} patterns: compiled in {figures.compiled:.2f} s; {decided}")
    print("ratio: " + ", ".join(f"{kind} {many.decided[kind] / few.decided[kind]:.2f}" for kind in KINDS))


if __name__ == "__main__":
    main()
