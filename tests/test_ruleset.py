"""The ruleset as an order of rules: what a packet must have survived before anybody trusts it.

`test_netfilter` compares the whole text with a stored one; here stand the reasons why the order matters.
"""

import re

import pytest

from appliance.edge.netfilter import render_ruleset
from tests.test_netfilter import CONFIGS

PASS, ALLOWED, DENIED = "0x10000000", "0xa0000000", "0xd0000000"
STATE = "0xf0000000"
STATE_OR_REOPENED = "0xf8000000"


@pytest.fixture(params=sorted(CONFIGS))
def chains(request: pytest.FixtureRequest) -> dict[str, list[str]]:
    """The rules of each chain, in order, without comments."""
    text = render_ruleset(CONFIGS[request.param])
    found = re.findall(r"^    chain (\w+) \{\n(.*?)^    \}", text, re.MULTILINE | re.DOTALL)
    return {name: [re.sub(r' comment ".*"', "", line.strip()) for line in body.splitlines()] for name, body in found}


def reach(chains: dict[str, list[str]], name: str) -> set[str]:
    """Return the chains that a packet in this one may come to."""
    found, left = {name}, [name]
    while left:
        for rule in chains[left.pop()]:
            new = set(re.findall(r"\b(?:goto|jump) (\w+)", rule)) - found
            found |= new
            left += new
    return found


def place(rules: list[str], start: str) -> int:
    """Return where the only rule stands that begins so."""
    [at] = [at for at, rule in enumerate(rules) if rule.startswith(start)]
    return at


def test_what_conntrack_calls_invalid_never_meets_the_queue(chains: dict[str, list[str]]) -> None:
    """Bad checksums, impossible numbers, impossible flags (P4, P5): before any rule that queues or lets pass.

    Only flows with a mark pass earlier, and an invalid packet belongs to no flow, so that it bears none.
    """
    rules = chains["forward"]
    invalid = place(rules, "ct state invalid,untracked goto stray")
    for rule in rules[:invalid]:
        targets = set(re.findall(r"\b(?:goto|jump) (\w+)", rule))
        queues = {name for target in targets for name in reach(chains, target) if re.fullmatch(r"\w+_\d+", name)}
        assert not queues
        assert not rule.endswith("accept") or rule.startswith(f"ct mark & {STATE} == {ALLOWED}")
    assert not reach(chains, "stray") - {"stray"}
    assert chains["stray"][-2:] == ["meta l4proto tcp reject with tcp reset", "drop"]


def test_ipv6_is_dropped_before_anything_is_told_apart(chains: dict[str, list[str]]) -> None:
    """Whatever extension headers or fragments it has (P13): the rule asks for the family alone."""
    rules = chains["forward"]
    ipv6 = place(rules, "meta nfproto ipv6 counter name forwarded_ipv6 drop")
    assert all("mark" in rule or rule.startswith("type filter hook") for rule in rules[:ipv6])


def test_the_time_to_live_is_rewritten_before_the_queue(chains: dict[str, list[str]]) -> None:
    """Of everything a client sends in a flow that is not open (P3)."""
    rules = chains["forward"]
    ttl = place(rules, "ip ttl set 64")
    assert ttl < place(rules, "ct state new goto opening") < place(rules, "goto from_client")
    assert ttl < min(at for at, rule in enumerate(rules) if rule.endswith("goto gate"))
    assert "ip ttl set 64" in chains["reopening"]


@pytest.mark.parametrize("chain", ["opening", "reopening"])
def test_a_syn_goes_on_without_payload_and_options(chains: dict[str, list[str]], chain: str) -> None:
    """Bare, or not without the gate's word (P9); a signature is the gate's too (P6)."""
    rules = chains[chain]
    last = min(at for at, rule in enumerate(rules) if rule.endswith(("accept", "goto admitted")))
    bare = place(rules, "jump only_bare")
    assert rules[bare + 1].startswith(f"meta mark & {STATE} != {PASS} goto ")
    for option in ("fastopen", "mptcp"):
        assert bare < place(rules, f"tcp option {option} exists reset tcp option {option}") < last
    assert bare < place(rules, "tcp option md5sig exists goto") < last
    assert bare < last


def test_a_syn_that_is_sent_again_is_an_opening(chains: dict[str, list[str]]) -> None:
    """Conntrack calls it established once the server has answered; its options go all the same."""
    assert chains["from_client"][0] == "tcp flags syn goto opening"


@pytest.mark.parametrize(("chain", "queue"), [("from_client", "client"), ("from_server", "server")])
def test_all_with_payload_is_queued(chains: dict[str, list[str]], chain: str, queue: str) -> None:
    """On the handshake's last segment (P10), after a FIN (P8), after any number of packets (P15): no rule counts."""
    rules = chains[chain]
    bare = place(rules, "jump only_bare")
    assert rules[bare + 1] == f"meta mark & {STATE} == {PASS} accept"
    assert re.fullmatch(rf"symhash mod \d+ vmap {{ (\d+ : goto {queue}_\d+(, )?)+ }}", rules[bare + 2])
    assert len(rules) == bare + 3
    text = "\n".join(chains["forward"] + rules + chains["only_bare"])
    assert not re.search(r"\b(limit|quota|numgen|ct packets|ct bytes|connbytes)\b", text)


def test_bare_is_told_by_lengths_alone(chains: dict[str, list[str]]) -> None:
    """The IP packet ends where its TCP header does (P19); neither IP options (P12) nor an urgent pointer (P7)."""
    first, second, *rest = chains["only_bare"]
    assert first == "ip hdrlength != 5 return"
    assert second == "tcp flags urg return"
    lengths = dict(
        re.fullmatch(rf"tcp doff (\d+) ip length (\d+) meta mark set {PASS} return", rule).groups() for rule in rest
    )
    assert {int(words): int(octets) for words, octets in lengths.items()} == {n: 20 + 4 * n for n in range(5, 16)}


def test_only_the_servers_syn_begins_a_flow(chains: dict[str, list[str]]) -> None:
    """By the number that it acknowledges (P11, X3), and never one that was denied or is open."""
    [rule] = [rule for rule in chains["forward"] if rule.endswith("jump agreed")]
    assert rule.startswith("ct direction reply tcp flags & (syn | ack) == (syn | ack) ")
    assert f"ct mark & {STATE} != {DENIED} ct mark & {STATE_OR_REOPENED} != {ALLOWED} " in rule
    setters = {name for name, rules in chains.items() if any("ct mark set" in each for each in rules)}
    assert setters == {"agreed", "reopening", "settle", "output"}


def test_a_flow_is_open_by_its_last_verdict_only(chains: dict[str, list[str]]) -> None:
    """No table of flows, no offload (P18): a mark that the engine's verdict left, and nothing else."""
    text = "\n".join(rule for rules in chains.values() for rule in rules)
    assert not re.search(r"\b(flow (add|offload)|flowtable|offload|notrack)\b", text)
    opening = [rule for rule in text.splitlines() if f"== {ALLOWED} ct mark set " in rule]
    assert opening == [f"meta mark & {STATE} == {ALLOWED} ct mark set meta mark accept"]


def test_there_is_no_way_in_for_what_has_no_beginning(chains: dict[str, list[str]]) -> None:
    """A flow joined in its middle, or continued after its end (P8, P14), is a new one without a SYN."""
    rules = chains["forward"]
    assert place(rules, "ct state new goto opening") < place(rules, "goto from_client")
    assert chains["opening"][0] == "tcp flags & (fin | syn | rst | ack) != syn goto stray"
