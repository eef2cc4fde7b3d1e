"""Laws of the policy: what holds for every description, inventory and flow."""

import itertools
import pickle
import string
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from random import Random
from typing import TypeVar

from hypothesis import example, given
from hypothesis import strategies as st

from appliance.address import Ipv4, Network, is_private
from appliance.errors import InvalidName
from appliance.policy.addresses import AddressBook, Answer
from appliance.policy.annotation import Allow, Protocol, SeeThru, parse_description
from appliance.policy.decision import Decision, decide_name, decide_port, decide_ssh, may_reach
from appliance.policy.entry import OpenFlow, entry_number
from appliance.policy.fqdn import LABEL_MAX, NAME_MAX, Fqdn
from appliance.policy.inventory import EgressRule, Inventory, NetworkInterface, SecurityGroup
from appliance.policy.policy import EMPTY_POLICY, Change, Policy, compile_policy, diff_policy
from appliance.reason import Reason
from appliance.revocation import Entitlement, names_of
from appliance.standing import Standing

Item = TypeVar("Item")

LETTERS = string.ascii_lowercase + string.digits
LABELS = st.from_regex(r"[a-z_]([a-z0-9_-]{0,20}[a-z0-9_])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=2, max_size=5).map(lambda labels: Fqdn(tuple(labels)))
AWS_TEXT = st.text(string.ascii_letters + string.digits + " ._-:/()#,@[]+=&;{}!$*", max_size=255)
PIECES = st.sampled_from(
    [
        "discriminat",
        "Discriminat:",
        ":tls:",
        "ssh",
        "see-thru:",
        "2027-01-05",
        "a.com",
        "*.b",
        ",",
        ", ",
        " ",
        ":",
        "/",
        "ü",
    ]
)
JUMBLE = st.lists(PIECES, max_size=20).map("".join)

# Few values each, so that rules, groups and flows meet.
FEW_NAMES = st.sampled_from([Fqdn.parse(text) for text in ("a.com", "b.com", "c.com", "d.com")])
FEW_ADDRESSES = st.sampled_from([Ipv4((203 << 24) + (113 << 8) + last) for last in range(1, 6)])
PORTS = st.sampled_from([22, 443, 8443])
GIDS = st.sampled_from(["sg-1", "sg-2", "sg-3"])
DESTINATIONS = st.sampled_from(["0.0.0.0/0", "0.0.0.0/1", "203.0.113.0/24", "198.51.100.0/24", "::/0", "pl-1"])
DESCRIPTIONS = st.one_of(
    st.tuples(st.sampled_from(["tls", "ssh"]), st.lists(FEW_NAMES, min_size=1, max_size=3)).map(
        lambda row: f"discriminat:{row[0]}:{','.join(map(str, row[1]))}"
    ),
    st.dates(date(2027, 1, 1), date(2027, 1, 9)).map(lambda day: f"discriminat:see-thru:{day}"),
    st.sampled_from(["", "to the Internet", "discriminat:tls:*.a.com,d.com", "discriminat:tsl:a.com"]),
)
RULES = st.builds(
    lambda protocol, port, span, destination, description: EgressRule(
        protocol, port, port + span, destination, description
    ),
    st.sampled_from(["tcp", "tcp", "tcp", "udp", "-1"]),
    PORTS,
    st.sampled_from([0, 0, 0, 1]),
    DESTINATIONS,
    DESCRIPTIONS,
)
GROUPS = st.lists(
    st.builds(lambda gid, rules: SecurityGroup(gid, "", tuple(rules)), GIDS, st.lists(RULES, max_size=5)),
    max_size=3,
    unique_by=lambda group: group.id,
)
CLIENTS = st.integers(10, 14).map(lambda last: Ipv4((10 << 24) + last))
INTERFACES = st.lists(
    st.builds(
        lambda gids, addresses: NetworkInterface("eni", tuple(gids), tuple(addresses), ()),
        st.lists(GIDS, max_size=3),
        st.lists(CLIENTS, min_size=1, max_size=2),
    ),
    max_size=4,
)
INVENTORIES = st.builds(lambda groups, interfaces: Inventory(tuple(groups), tuple(interfaces)), GROUPS, INTERFACES)
ANSWERS = st.lists(
    st.builds(Answer, FEW_NAMES, st.lists(FEW_ADDRESSES, max_size=3).map(tuple), st.just(60.0)), max_size=6
)


def book_of(answers: list[Answer]) -> AddressBook:
    book = AddressBook()
    for answer in answers:
        book.learn(answer, 0.0)
    return book


# ---- names ----


@given(NAMES)
def test_a_name_survives_its_text(name: Fqdn) -> None:
    """Writing and parsing give the name back, whatever the case and with or without the root dot."""
    assert name == Fqdn.parse(str(name))
    assert name == Fqdn.parse(str(name).upper() + ".")


@given(st.text(max_size=300))
@example("example.com\n")
@example("a" * LABEL_MAX + ".com")
@example("\u212a.com")  # KELVIN SIGN
@example("a.\u0131")  # DOTLESS I
def test_a_text_is_a_proper_name_or_refused(text: str) -> None:
    """Any text is a name of proper labels and length, or InvalidName; there is no third outcome."""
    try:
        name = Fqdn.parse(text)
    except InvalidName:
        return
    assert len(str(name)) <= NAME_MAX
    assert len(name.labels) >= 2
    assert all(0 < len(label) <= LABEL_MAX and set(label) <= set(LETTERS + "-_") for label in name.labels)
    assert text.isascii()
    assert text.lower().removesuffix(".") == str(name)


# ---- descriptions ----


@given(st.one_of(st.text(max_size=300), AWS_TEXT, JUMBLE))
def test_any_description_is_read(text: str) -> None:
    """No description raises; spans lie within it; nothing is granted that does not stand in it."""
    description = parse_description(text)

    for fault in description.faults:
        start, end = fault.span
        assert 0 <= start < end <= len(text)
        assert fault.message
        assert fault.hint
        assert len(fault.render().splitlines()) == 4
    for annotation in description.annotations:
        written = text[slice(*annotation.span)].lower()
        assert written.startswith("discriminat:")
        granted = annotation.names if isinstance(annotation, Allow) else [annotation.until]
        assert granted
        assert all(str(each) in written for each in granted)


@given(st.sampled_from(Protocol), st.lists(NAMES, min_size=1, max_size=10), AWS_TEXT)
def test_an_annotation_is_understood_among_any_words(protocol: Protocol, names: list[Fqdn], words: str) -> None:
    """What stands behind an annotation, after a space, cannot take anything from it."""
    text = f"discriminat:{protocol}:{','.join(map(str, names))}"

    assert parse_description(f"{text} {words}").annotations[0] == Allow(protocol, tuple(dict.fromkeys(names)))


@given(st.dates())
def test_every_day_is_a_date(day: date) -> None:
    """See-thru can end on any day of the calendar."""
    assert parse_description(f"discriminat:see-thru:{day.isoformat()}").annotations == (SeeThru(day),)


# ---- policies ----


@given(INVENTORIES, st.randoms(use_true_random=False))
def test_order_changes_nothing(inventory: Inventory, random: Random) -> None:
    """However AWS orders its answer, the policy and its digest are the same."""
    shuffled = Inventory(
        tuple(
            SecurityGroup(group.id, group.name, shuffle(group.rules, random))
            for group in shuffle(inventory.groups, random)
        ),
        shuffle(inventory.interfaces, random),
    )

    assert compile_policy(inventory) == compile_policy(shuffled)


def shuffle(items: Sequence[Item], random: Random) -> tuple[Item, ...]:
    return tuple(random.sample(items, len(items)))


@given(INVENTORIES)
def test_a_policy_survives_travelling(inventory: Inventory) -> None:
    """A pickled policy is equal to itself and compiles no further."""
    policy = compile_policy(inventory)

    assert policy == pickle.loads(pickle.dumps(policy))  # noqa: S301 (our own octets)


@given(INVENTORIES, INVENTORIES)
def test_digests_agree_with_content(one: Inventory, other: Inventory) -> None:
    """Two policies have the same digest if, and only if, they are equal."""
    first, second = compile_policy(one), compile_policy(other)

    assert (first == second) is (first.digest == second.digest)


def told(policy: Policy) -> set[tuple[object, ...]]:
    """Return what the changes since the empty policy say, without the outcome."""
    return {facts(change) for change in diff_policy(EMPTY_POLICY, policy) if change.outcome != "rejected"}


def facts(change: Change) -> tuple[object, ...]:
    return change.cat, change.client, change.gid, change.rule, change.fqdn, change.proto, change.reason


@given(INVENTORIES, INVENTORIES)
def test_changes_lead_from_one_policy_to_the_other(one: Inventory, other: Inventory) -> None:
    """Taking away what was removed and adding what was accepted turns the old policy into the new one."""
    old, new = compile_policy(one), compile_policy(other)
    changes = diff_policy(old, new)
    removed = {facts(change) for change in changes if change.outcome == "removed"}
    accepted = {facts(change) for change in changes if change.outcome == "accepted"}

    assert removed <= told(old)
    assert not accepted & told(old)
    assert told(new) == told(old) - removed | accepted


# ---- decisions ----


@given(
    inventory=INVENTORIES,
    client=CLIENTS,
    port=PORTS,
    name=FEW_NAMES,
    destination=FEW_ADDRESSES,
    answers=ANSWERS,
)
def test_only_what_is_written_is_allowed(
    *, inventory: Inventory, client: Ipv4, port: int, name: Fqdn, destination: Ipv4, answers: list[Answer]
) -> None:
    """A flow is allowed exactly if one of its client's rules lists its name there, and the name has its destination."""
    book = book_of(answers)
    rules = decide_port(compile_policy(inventory), client, 6, port, destination)
    resolved = {answer.name for answer in answers if destination in answer.addresses}
    by_tls = written(inventory, client, port, destination, Protocol.TLS)
    by_ssh = written(inventory, client, port, destination, Protocol.SSH)

    if isinstance(rules, Decision):
        assert not rules.allow
        assert not by_tls | by_ssh
        return
    decision = decide_name(rules, name, destination, book, 0.0)
    assert (name in by_tls & resolved) is decision.allow
    assert decision.allow is (decision.reason is Reason.NAME_LISTED)
    ssh = decide_ssh(rules, destination, book, 0.0)
    assert bool(by_ssh & resolved) is ssh.allow
    assert not ssh.allow or ssh.name in map(str, by_ssh & resolved)
    assert bool((by_tls | by_ssh) & resolved) is may_reach(rules, destination, book, 0.0)


def written(inventory: Inventory, client: Ipv4, port: int, destination: Ipv4, protocol: Protocol) -> set[Fqdn]:
    """Return the names that a client may reach, straight from the descriptions: the slow and obvious way."""
    worn = [set(interface.groups) for interface in inventory.interfaces if client in interface.addresses]
    gids = set.intersection(*worn) if worn else set()
    return {
        name
        for group in inventory.groups
        if group.id in gids
        for rule in group.rules
        if (rule.protocol, rule.from_port, rule.to_port) == ("tcp", port, port)
        and rule.destination[0].isdigit()
        and (rule.destination.startswith("0.0.0.0/") or destination in Network.parse(rule.destination))
        for annotation in parse_description(rule.description).annotations
        if isinstance(annotation, Allow) and annotation.protocol is protocol
        for name in annotation.names
    }


@given(INVENTORIES, st.integers(0, 2**32 - 1), st.integers(0, 255), st.integers(0, 65535), st.integers(0, 2**32 - 1))
def test_nothing_private_is_ever_reached(
    inventory: Inventory, client: Ipv4, protocol: int, port: int, destination: Ipv4
) -> None:
    """No client, protocol or port leads to a private address, and nothing but TCP leads anywhere."""
    rules = decide_port(compile_policy(inventory), client, protocol, port, destination)

    if is_private(destination) or protocol != 6:
        assert isinstance(rules, Decision)
        assert not rules.allow


# ---- open flows ----

ANNOTATED = st.one_of(
    st.builds(
        lambda kind, names, port, block: EgressRule("tcp", port, port, block, f"discriminat:{kind}:{','.join(names)}"),
        st.sampled_from(Protocol),
        st.lists(FEW_NAMES.map(str), min_size=1, max_size=3),
        PORTS,
        st.sampled_from(["0.0.0.0/0", "203.0.113.0/30", "203.0.113.4/30"]),
    ),
    st.dates(date(2027, 1, 1), date(2027, 1, 9)).map(
        lambda day: EgressRule("-1", None, None, "0.0.0.0/0", f"discriminat:see-thru:{day}")
    ),
)
WORN = st.lists(st.lists(GIDS, min_size=1, max_size=3), min_size=1, max_size=3)  # groups of the first few clients


def annotated(rules: list[list[EgressRule]], worn: list[list[str]]) -> Policy:
    """Return the policy of groups with these rules, and of clients that wear these groups."""
    groups = tuple(SecurityGroup(f"sg-{number}", "", tuple(each)) for number, each in enumerate(rules, 1))
    interfaces = tuple(
        NetworkInterface(f"eni-{last}", tuple(gids), (Ipv4((10 << 24) + last),), ()) for last, gids in enumerate(worn)
    )
    return compile_policy(Inventory(groups, interfaces))


@given(
    st.lists(st.lists(ANNOTATED, max_size=4), min_size=3, max_size=3),
    WORN,
    st.dates(date(2027, 1, 1), date(2027, 1, 9)),
    st.data(),
)
def test_an_open_flow_goes_on_if_the_new_policy_would_allow_it(
    rules: list[list[EgressRule]], worn: list[list[str]], today: date, data: st.DataObject
) -> None:
    """Addresses aside: a flow that one policy allowed survives another if its rules, or see-thru, allow it too."""
    old = annotated(rules, worn)
    edits = st.sampled_from([0, 1, 2])  # a rule goes, stays, or is narrowed
    edited = [[edit(each, how) for each in group if (how := data.draw(edits))] for group in rules]
    edited[0].append(data.draw(ANNOTATED))
    new = annotated(edited, worn if data.draw(st.booleans()) else data.draw(WORN))
    standing = Standing("i-1", today)
    standing.policy = new
    entitlement = Entitlement(standing)
    names, ports = sorted(old.names), (22, 443, 8443)
    for client, protocol, port, name, last in itertools.product(old.clients, Protocol, ports, names, range(1, 6)):
        destination = Ipv4((203 << 24) + (113 << 8) + last)
        if allows(old, client, protocol, port, destination, name):
            flow = OpenFlow(client, 40000, destination, port, entry_number(protocol, str(name), port))
            goes_on = allows(new, client, protocol, port, destination, name)
            goes_on = goes_on or standing.lets_through(client, destination, Reason.NAME_NOT_LISTED)
            assert (entitlement.objection(flow) is None) is goes_on
            rule, found = names_of(old, [flow])[flow]
            assert (rule.protocol, rule.port, found) == (protocol, port, name)


def edit(rule: EgressRule, how: int) -> EgressRule:
    return rule if how == 1 else replace(rule, destination="203.0.113.4/30")


def allows(  # noqa: PLR0917 -- all that a flow is
    policy: Policy, client: Ipv4, protocol: Protocol, port: int, destination: Ipv4, name: Fqdn
) -> bool:
    """Tell whether a new flow would be allowed, if the name had this address and no other name had it."""
    book = book_of([Answer(name, (destination,), 60.0)])
    rules = decide_port(policy, client, 6, port, destination)
    if isinstance(rules, Decision):
        return False
    if protocol is Protocol.TLS:
        return decide_name(rules, name, destination, book, 1.0).allow
    return decide_ssh(rules, destination, book, 1.0).allow


# ---- addresses ----


@given(
    st.integers(4, 30),
    st.lists(st.tuples(st.sampled_from("abcd"), st.lists(st.integers(1, 40), min_size=1, max_size=20)), max_size=20),
)
def test_a_book_is_bounded_and_a_modest_name_loses_nothing(most: int, lessons: list[tuple[str, list[int]]]) -> None:
    """Whatever is learnt, it holds so many addresses at most, and no name that has less than its share gives any up."""
    book = AddressBook(grace=100.0, most=most)
    told: dict[Fqdn, set[Ipv4]] = {}
    for label, numbers in lessons:
        name = Fqdn((label, "example", "com"))
        addresses = [Ipv4((53 << 24) + number) for number in numbers]
        told.setdefault(name, set()).update(addresses)
        book.learn(Answer(name, tuple(addresses), 60.0), 0.0)

        held = {each: set(book.known(each, 0.0)) for each in told}
        assert sum(map(len, held.values())) <= most
        for each, addresses_of in told.items():
            assert held[each] == addresses_of or len(addresses_of) > (most - most // 8) // 4
            assert held[each] == {address for address in addresses_of if each in book.names_at(address)}


@given(
    st.lists(st.tuples(FEW_NAMES, FEW_ADDRESSES, st.floats(0, 100), st.floats(0, 50)), max_size=20), st.floats(0, 2000)
)
def test_a_book_holds_what_an_answer_brought_lately(
    lessons: list[tuple[Fqdn, Ipv4, float, float]], wait: float
) -> None:
    """A name holds an address exactly while some answer with it is younger than its TTL and the grace period."""
    book = AddressBook(grace=100.0)
    ends: dict[tuple[Fqdn, Ipv4], float] = {}
    now = 0.0
    for name, address, ttl, pause in lessons:
        now += pause
        is_new = ends.get((name, address), 0.0) <= now
        assert is_new is book.learn(Answer(name, (address,), ttl), now)
        ends[name, address] = max(ends.get((name, address), 0.0), now + (max(ttl, 5.0) + 100.0))
    now += wait

    for (name, address), end in ends.items():
        assert (end > now) is book.holds(name, address, now)
        assert (end > now) is (address in book.known(name, now))
        assert end <= now or name in book.names_at(address)
