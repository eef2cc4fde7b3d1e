"""The ruleset as text, compared with stored files; the marks; and what the tools are asked to do.

`python -m tests.test_netfilter` writes the stored files anew: read the difference before you commit it.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.address import Network, parse_ipv4
from appliance.edge import netfilter
from appliance.edge.netfilter import (
    Mark,
    Netfilter,
    NetfilterConfig,
    isn_of,
    queue_mark,
    render_iptables,
    render_ruleset,
)
from appliance.errors import KernelError

VECTORS = Path(__file__).parent / "vectors"
CLIENTS = (Network.parse("10.0.0.0/16"), Network.parse("100.64.0.0/20"))
CONFIGS = {
    "nft-queue": NetfilterConfig(clients=CLIENTS, queues=2, nft_queue=True),
    "iptables": NetfilterConfig(
        clients=CLIENTS[:1],
        queues=1,
        nft_queue=False,
        isn_reversed=True,
        first_queue=10,
        health_clients=(Network.parse("10.9.0.0/24"),),
    ),
}
ENCLOSED = ["unshare", "--user", "--map-root-user", "--net"]
CLIENT, OTHER = parse_ipv4("10.0.1.10"), parse_ipv4("10.0.1.11")

Run = subprocess.CompletedProcess[str]


# ---- text ----


@pytest.mark.parametrize("variant", CONFIGS)
def test_ruleset_is_as_stored(variant: str) -> None:
    """Every change of the ruleset is seen in review."""
    assert render_ruleset(CONFIGS[variant]) == (VECTORS / f"ruleset-{variant}.nft").read_text()


def test_iptables_rules_are_as_stored() -> None:
    """The part of the variant that nft cannot do."""
    assert render_iptables(CONFIGS["iptables"]) == (VECTORS / "ruleset-iptables.txt").read_text()


@pytest.mark.parametrize("variant", CONFIGS)
def test_ruleset_is_closed(variant: str) -> None:
    """What is forwarded or comes in is dropped by default; no queue is bypassed; the sets are empty."""
    ruleset = render_ruleset(CONFIGS[variant])
    policies = dict(re.findall(r"chain (\w+) \{\n +type \w+ hook \w+ priority [^;]+; policy (\w+);", ruleset))
    closed, ours = ("forward", "settle", "input"), ("postrouting", "output")
    assert policies == dict.fromkeys(closed, "drop") | dict.fromkeys(ours, "accept")
    assert "bypass" not in ruleset + render_iptables(CONFIGS[variant])
    for name in ("annotated", "gated", "see_thru"):
        assert "elements" not in re.findall(rf"set {name} \{{.*", ruleset)[0]


@pytest.mark.parametrize("variant", CONFIGS)
def test_ruleset_names_nothing_it_has_not(variant: str) -> None:
    """Every chain that is jumped to exists, every set and counter too, and none is left over."""
    ruleset = render_ruleset(CONFIGS[variant])
    hooked = {"forward", "settle", "input", "postrouting", "output"}
    chains = set(re.findall(r"^    chain (\w+)", ruleset, re.MULTILINE))
    assert set(re.findall(r"\b(?:goto|jump) (\w+)", ruleset)) == chains - hooked
    sets = set(re.findall(r"^    set (\w+)", ruleset, re.MULTILINE))
    assert set(re.findall(r"@(\w+)", ruleset)) == sets
    counters = set(re.findall(r"^    counter (\w+)", ruleset, re.MULTILINE))
    assert set(re.findall(r"counter name (\w+)", ruleset)) == counters


@pytest.mark.parametrize("queues", [0, 17, -1])
def test_impossible_numbers_of_queues_are_refused(queues: int) -> None:
    """The mark has four bits for the queue."""
    with pytest.raises(KernelError) as caught:
        render_ruleset(NetfilterConfig(clients=CLIENTS, queues=queues, nft_queue=True))
    assert caught.value.hint == "use 1 to 16"


@pytest.mark.parametrize("queues", [1, 3, 16])
def test_every_queue_is_reached(queues: int) -> None:
    """By each kind of packet; in both variants under the same marks."""
    config = NetfilterConfig(clients=CLIENTS, queues=queues, nft_queue=True, first_queue=100)
    queued = [int(number) for number in re.findall(r"queue num (\d+)", render_ruleset(config))]
    assert sorted(queued) == sorted(list(range(100, 100 + queues)) * 4)
    marks = re.findall(r"--mark (0x\w+)/0xff000000 -j NFQUEUE --queue-num (\d+)", render_iptables(config))
    expected = {
        (f"{queue_mark(origin, queue):#010x}", str(100 + queue))
        for origin in (Mark.CLIENT, Mark.SERVER, Mark.GATE, Mark.EXCESS)
        for queue in range(queues)
    }
    assert set(marks) == expected
    assert len(expected) == 4 * queues


# ---- marks ----


def test_marks_do_not_overlap() -> None:
    """State, queue and sequence number have bits of their own."""
    assert len({mark.bits for mark in Mark}) == len(Mark)
    for origin in (Mark.CLIENT, Mark.SERVER, Mark.GATE, Mark.EXCESS):
        for queue in range(16):
            mark = queue_mark(origin, queue)
            assert mark & netfilter.ISN_MASK == 0
            assert mark >> netfilter.STATE_SHIFT == origin


@pytest.mark.parametrize("sequence", [0, 1, 0x11223344, 0xFFFFFFFF, 0xFF000000, 0x00FF00FF])
def test_octets_of_a_sequence_number_in_reverse(sequence: int) -> None:
    """What an old nft puts into the mark means the same as what a new one does."""
    turned = sequence & netfilter.ISN_MASK | queue_mark(Mark.CLIENT, 3)
    reverse = int.from_bytes(sequence.to_bytes(4), "little") >> 8 | queue_mark(Mark.CLIENT, 3)
    assert isn_of(turned, is_reversed=False) == isn_of(reverse, is_reversed=True)


@pytest.mark.parametrize("variant", CONFIGS)
def test_no_mark_comes_from_a_packet(variant: str) -> None:
    """A connection's mark is what we say, or the server's word on where it begins; a packet's is wiped first (X4)."""
    ruleset = re.sub(r'"[^"]*"', "", render_ruleset(CONFIGS[variant]))
    number, constant = r"0x[0-9a-f]{8}", r"(0x[0-9a-f]{8}|0)"
    isn = {"meta mark set tcp ackseq", "ct mark set meta mark >> 8", "ct mark set tcp ackseq & 0x00ffffff"}
    sets = {
        found.strip()
        for found in re.findall(r"(?:meta|ct) mark set [^;\n]*?(?= accept| goto| return| comment|\n)", ruleset)
    }
    ours = (
        rf"(meta|ct) mark set (ct mark & {number} \| )?{constant}|ct mark set ct mark \| {number}|ct mark set meta mark"
    )
    assert [each for each in sets - isn if re.fullmatch(ours, each) is None] == []
    chains = dict(re.findall(r"chain (\w+) \{\n(.*?)\n    \}", ruleset, re.DOTALL))
    assert [name for name, rules in chains.items() if "ackseq" in rules] == ["agreed"]
    assert "ct mark set meta mark accept" in chains["settle"]
    before, wiped, _ = chains["forward"].partition("meta mark set 0")
    assert wiped
    assert "meta mark" not in before


@pytest.mark.parametrize("variant", CONFIGS)
def test_what_allowed_a_flow_is_no_part_of_its_state(variant: str) -> None:
    """Wherever a mark is compared, only the bits that say the state are; what is denied stays so behind the engine."""
    ruleset = re.sub(r'"[^"]*"|ct mark & 0x00ffffff \||mark set ct mark', "", render_ruleset(CONFIGS[variant]))
    compared = re.findall(r"(?:ct|meta) mark (?!set|>>)(.{14})", ruleset)
    assert set(compared) == {"& 0xf0000000 =", "& 0xf0000000 !", "& 0xf8000000 !"}
    settle = re.search(r"chain settle \{.*?\n    \}", ruleset, re.DOTALL)
    assert settle is not None
    rules = settle[0].splitlines()
    assert "ct mark & 0xf0000000 == 0xd0000000 goto rejected" in rules[3]
    assert "meta mark & 0xf0000000 == 0x10000000 accept" in rules[4]


# ---- what the tools are asked ----


class Tools:
    """Stands for nft and iptables: notes what they are asked, answers as told."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.answer: Callable[[str], Run] = lambda command: subprocess.CompletedProcess([], 0, "", "")

    def run(self, command: list[str], *, input: str, **_named: object) -> Run:
        self.asked.append((" ".join(command), input))
        return self.answer(" ".join(command))


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> Tools:
    tools = Tools()
    monkeypatch.setattr(subprocess, "run", tools.run)
    return tools


def failing(word: str, stderr: str = "Error: Operation not supported\nmore\n") -> Callable[[str], Run]:
    return lambda command: subprocess.CompletedProcess([], int(word in command), "", stderr)


def test_load_is_one_transaction(tools: Tools) -> None:
    """With the nft statement there is nothing else to do."""
    Netfilter().load(CONFIGS["nft-queue"])
    assert tools.asked == [("nft -f -", render_ruleset(CONFIGS["nft-queue"]))]


def test_load_of_the_iptables_variant(tools: Tools) -> None:
    """The chain is filled, and jumped to once."""
    Netfilter().load(CONFIGS["iptables"])
    assert [command for command, _ in tools.asked] == [
        "nft -f -",
        "iptables-restore --noflush",
        "iptables -C FORWARD -m mark ! --mark 0/0xf0000000 -j DISCRIMINAT",
    ]
    tools.asked.clear()
    tools.answer = failing("-C")
    Netfilter().load(CONFIGS["iptables"])
    assert tools.asked[-1][0] == "iptables -I FORWARD -m mark ! --mark 0/0xf0000000 -j DISCRIMINAT"


def test_open_ports_tells_differences_only(tools: Tools) -> None:
    """What went, what came; nothing if nothing did."""
    table = Netfilter()
    table.open_ports([(CLIENT, 443), (CLIENT, 22)], [OTHER], ())
    table.open_ports([(CLIENT, 443), (OTHER, 443)], [CLIENT], ())
    table.open_ports([(OTHER, 443), (CLIENT, 443)], [CLIENT], ())
    assert len(tools.asked) == 2
    assert tools.asked[1][1].splitlines() == [
        "delete element inet discriminat annotated { 10.0.1.10 . 22 }",
        "delete element inet discriminat see_thru { 10.0.1.11 }",
        "add element inet discriminat annotated { 10.0.1.11 . 443 }",
        "add element inet discriminat see_thru { 10.0.1.10 }",
    ]


def test_the_syn_gate_moves_ports_from_one_set_to_the_other(tools: Tools) -> None:
    """In one transaction, back and forth, so that no SYN finds its port in neither."""
    table = Netfilter()
    table.open_ports([(CLIENT, 443)], [], ())
    table.open_ports([(OTHER, 22)], [], (), syn_gate=True)
    table.open_ports([(CLIENT, 443)], [], ())
    assert [text.splitlines() for _, text in tools.asked[1:]] == [
        [
            "delete element inet discriminat annotated { 10.0.1.10 . 443 }",
            "add element inet discriminat gated { 10.0.1.11 . 22 }",
        ],
        [
            "delete element inet discriminat gated { 10.0.1.11 . 22 }",
            "add element inet discriminat annotated { 10.0.1.10 . 443 }",
        ],
    ]


def test_open_ports_that_failed_is_tried_whole_again(tools: Tools) -> None:
    """Nothing was changed, so nothing is believed to be."""
    table = Netfilter()
    tools.answer = failing("nft")
    with pytest.raises(KernelError):
        table.open_ports([(CLIENT, 443)], [], ())
    tools.answer = failing("nothing")
    table.open_ports([(CLIENT, 443)], [], ())
    assert tools.asked[0] == tools.asked[1]


def test_load_forgets_what_was_open(tools: Tools) -> None:
    """The sets are empty in the new table."""
    table = Netfilter()
    table.open_ports([(CLIENT, 443)], [], ())
    table.load(CONFIGS["nft-queue"])
    table.open_ports([(CLIENT, 443)], [], CLIENTS)
    assert tools.asked[-1] == tools.asked[0]


def test_client_networks_change_whole_and_at_once(tools: Tools) -> None:
    """The ruleset brought the first ones; others replace them in the same transaction as what is opened for them."""
    table = Netfilter()
    table.load(CONFIGS["nft-queue"])
    table.open_ports([], [], CLIENTS)
    assert len(tools.asked) == 1
    table.open_ports([(CLIENT, 443)], [], CLIENTS[:1])
    assert tools.asked[1][1].splitlines() == [
        "add element inet discriminat annotated { 10.0.1.10 . 443 }",
        "flush set inet discriminat clients",
        "add element inet discriminat clients { 10.0.0.0/16 }",
    ]
    table.open_ports([(CLIENT, 443)], [], CLIENTS[:1])
    assert len(tools.asked) == 2


def test_many_elements_come_in_several_lines(tools: Tools) -> None:
    """Still one transaction."""
    Netfilter().open_ports([(CLIENT, port) for port in range(5000)], [], ())
    assert len(tools.asked) == 1
    assert [line.count(" . ") for line in tools.asked[0][1].splitlines()] == [4096, 904]


def test_what_a_tool_says_is_in_the_error(tools: Tools) -> None:
    """Its first line, and what is needed."""
    tools.answer = failing("nft")
    with pytest.raises(KernelError) as caught:
        Netfilter().load(CONFIGS["nft-queue"])
    assert caught.value.message == "nft -f - failed: Error: Operation not supported"
    assert "CAP_NET_ADMIN" in caught.value.hint
    tools.answer = failing("nft", stderr="")
    with pytest.raises(KernelError) as caught:
        Netfilter().load(CONFIGS["nft-queue"])
    assert caught.value.message == "nft -f - failed: exit code 1"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (FileNotFoundError(), "nft is not installed"),
        (subprocess.TimeoutExpired("nft", 30), "nft did not finish within 30 s"),
    ],
)
def test_a_tool_that_is_missing_or_stuck(monkeypatch: pytest.MonkeyPatch, fault: Exception, message: str) -> None:
    """Is an error of the kernel's side; the caller stays closed."""

    def run(*_arguments: object, **_named: object) -> Run:
        raise fault

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(KernelError) as caught:
        Netfilter().load(CONFIGS["nft-queue"])
    assert caught.value.message == message


def test_probes(tools: Tools) -> None:
    """One loads and removes a table, the other only asks what would be sent."""
    assert Netfilter().has_nft_queue()
    assert "delete table inet discriminat_probe" in tools.asked[0][1]
    tools.answer = failing("nft")
    assert not Netfilter().has_nft_queue()
    tools.answer = lambda command: subprocess.CompletedProcess([], 0, "  [ byteorder reg 1 = ntoh(reg 1, 4, 4) ]\n", "")
    assert not Netfilter().has_reversed_isn()
    assert "--check" in tools.asked[-1][0]
    tools.answer = lambda command: subprocess.CompletedProcess([], 0, "  [ ct set mark with reg 1 ]\n", "")
    assert Netfilter().has_reversed_isn()


def test_counters(tools: Tools) -> None:
    """By name, in packets."""
    listing = """table inet discriminat {
    \tcounter forwarded_ipv6 {
    \t\tcomment "IPv6 is refused until it can be filtered"
    \t\tpackets 3 bytes 180
    \t}
    \tcounter stray {
    \t\tcomment "no part of a flow"
    \t\tpackets 0 bytes 0
    \t}
    }"""
    tools.answer = lambda command: subprocess.CompletedProcess([], 0, listing, "")
    assert Netfilter().counters() == {"forwarded_ipv6": 3, "stray": 0}


def test_unload_removes_what_load_made(tools: Tools) -> None:
    """The iptables part only where there is one."""
    Netfilter().unload()
    assert [command for command, _ in tools.asked] == [
        "nft delete table inet discriminat",
        "iptables -D FORWARD -m mark ! --mark 0/0xf0000000 -j DISCRIMINAT",
        "iptables -F DISCRIMINAT",
        "iptables -X DISCRIMINAT",
    ]
    tools.asked.clear()
    tools.answer = failing("-D")
    Netfilter().unload()
    assert len(tools.asked) == 2


# ---- the real tools, in a network namespace of their own ----


def enclosed(*command: str, text: str = "") -> Run:
    if shutil.which("nft") is None or subprocess.run([*ENCLOSED, "true"], check=False, capture_output=True).returncode:
        pytest.skip("nft, or the right to make a network namespace")
    return subprocess.run([*ENCLOSED, *command], input=text, text=True, capture_output=True, timeout=30, check=False)


@pytest.mark.subprocesses
@pytest.mark.parametrize("queues", [1, 16])
@pytest.mark.parametrize("isn_reversed", [False, True])
@pytest.mark.parametrize("nft_queue", [False, True])
def test_the_kernel_takes_the_ruleset(queues: int, isn_reversed: bool, nft_queue: bool) -> None:
    """Every variant; where the kernel has no queue statement, all else of it."""
    config = NetfilterConfig(clients=CLIENTS, queues=queues, nft_queue=nft_queue, isn_reversed=isn_reversed)
    ruleset = render_ruleset(config)
    probe = "table inet probe { chain probe { queue num 0; }; }"
    if nft_queue and enclosed("nft", "--check", "-f", "-", text=probe).returncode:
        ruleset = re.sub(r"queue num \d+", "accept", ruleset)
    done = enclosed("nft", "--check", "-f", "-", text=ruleset)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.subprocesses
def test_the_probe_tells_how_this_nft_copies_a_sequence_number() -> None:
    """Its answer agrees with what versions are known to do."""
    program = "from appliance.edge.netfilter import Netfilter; print(Netfilter().has_reversed_isn())"
    told = enclosed(sys.executable, "-c", program)
    version = re.search(r"v(\d+)\.(\d+)\.(\d+)", enclosed("nft", "--version").stdout)
    assert version is not None
    is_reversed = {"True": True, "False": False}[told.stdout.strip()]
    numbers = tuple(map(int, version.groups()))
    assert is_reversed or numbers > (1, 0, 6)
    assert not is_reversed or numbers < (1, 1, 0)


MOVES = [
    # before                        after                          as the kernel has it then
    ("10.0.0.0/16, 100.64.0.0/20",  "10.0.0.0/16",                 [("10.0.0.0", 16)]),
    ("10.0.0.0/16",                 "10.0.0.0/16, 10.1.0.0/16",    [("10.0.0.0", 15)]),  # they touch, and are merged
    ("10.0.0.0/16, 10.1.0.0/16",    "10.1.0.0/16",                 [("10.1.0.0", 16)]),
    ("10.0.0.0/8, 10.1.0.0/16",     "10.1.0.0/16, 172.16.0.0/12",  [("10.1.0.0", 16), ("172.16.0.0", 12)]),
]  # fmt: skip

CHANGE = """
import subprocess, sys
from appliance.address import Network
from appliance.edge.netfilter import Netfilter, NetfilterConfig
before, after = (tuple(map(Network.parse, text.split(", "))) for text in sys.argv[1:])
table = Netfilter()
table.load(NetfilterConfig(before, 1, nft_queue=table.has_nft_queue()))
table.open_ports([], [], after)
subprocess.run(["nft", "--json", "list", "set", "inet", "discriminat", "clients"], check=True)
"""


@pytest.mark.subprocesses
@pytest.mark.parametrize(("before", "after", "listed"), MOVES)
def test_the_kernel_takes_other_client_networks(before: str, after: str, listed: list[tuple[str, int]]) -> None:
    """Without reloading anything else, and whatever the networks before and after have in common."""
    done = enclosed(sys.executable, "-c", CHANGE, before, after)

    assert done.stderr == ""
    [elements] = [each["set"]["elem"] for each in json.loads(done.stdout)["nftables"] if "set" in each]
    assert [(each["prefix"]["addr"], each["prefix"]["len"]) for each in elements] == listed


if __name__ == "__main__":
    for variant, config in CONFIGS.items():
        (VECTORS / f"ruleset-{variant}.nft").write_text(render_ruleset(config))
    (VECTORS / "ruleset-iptables.txt").write_text(render_iptables(CONFIGS["iptables"]))
