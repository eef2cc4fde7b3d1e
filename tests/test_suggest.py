"""Suggestions: which events count, what becomes of them, and what is held back or set apart."""

import re
from datetime import UTC, date, datetime, timedelta

import pytest

from appliance.address import Network, parse_ipv4
from appliance.errors import PolicyError
from appliance.lint import lint
from appliance.offer import heading, notes, offer_document, render_annotations, render_table, render_terraform
from appliance.packing import MASKS, pack
from appliance.page import render_page
from appliance.period import parse_moment
from appliance.policy.annotation import Protocol
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import EgressRule, Inventory, NetworkInterface, SecurityGroup
from appliance.reason import Reason
from appliance.sighting import LINE_MAX, NAME_MAX, Sighting, Unlistable, Unread, read_sighting, write_time
from appliance.suggestion import Suggestion, suggest
from appliance.suspicion import CROWD, crowds
from appliance.usage import OTHERS_MAX, Usage, Wearers
from tests.sightings import GROUP, MORNING, OTHER_GROUP, SERVER, line
from tests.terraform.allowlists import of_length

DEFAULT = "%default"


def suggested(*lines: str, **options: object) -> Suggestion:
    """Return what these lines lead to."""
    usage = Usage(**options)
    for each in lines:
        usage.read(each)
    return suggest(usage)


def listed(suggestion: Suggestion) -> list[tuple[str, int, str, str, int]]:
    """Return group, port, protocol, name and count of each row."""
    return [
        (use.group, use.port, use.protocol.value, str(use.name), row.tally.count)
        for group in suggestion.groups
        for row in group.rows
        for use in [row.use]
    ]


# ---- one event ----

NOT_COUNTED = [
    ("the server's side", line(side="server")),
    ("what rules allow", line(reason=Reason.NAME_LISTED)),
    ("what see-thru never covers", line(reason=Reason.DESTINATION_PRIVATE)),
    ("a grant that has ended", line(until=date(2027, 1, 4))),
    ("no grant", line(gid=None)),
]


@pytest.mark.parametrize(("why", "text"), NOT_COUNTED, ids=[row[0] for row in NOT_COUNTED])
def test_other_events_do_not_count(why: str, text: str) -> None:
    """Only what see-thru alone let pass, and each flow once."""
    assert read_sighting(text) is None


def test_a_sighting_is_read() -> None:
    """With whatever a rule needs to know."""
    assert read_sighting(line("API.Example.com.", 8443)) == Sighting(
        "2027-01-05T09:12:44.317Z",
        parse_ipv4("10.0.1.10"),
        GROUP,
        "tls",
        8443,
        "api.example.com",
        Fqdn.parse("api.example.com"),
    )


UNREAD = [
    "",
    "not JSON",
    "[]",
    "1",
    "null",
    "{}",
    "[" * 100_000,
    f'{{"a": {"9" * 5000}}}',
    f'{{"a": "{"x" * LINE_MAX}"}}',
    line(time="yesterday"),
    line(time="2027-13-05T09:12:44.317Z"),
    line(time="2027-01-05T09:12:44.317Z\n"),
    line(see_thru_gid="sg-1; DROP"),
    line(see_thru_gid=None),
    line(proto="gopher"),
    line(dpt="443"),
    line(dpt=True),
    line(dpt=65536),
    line(dpt=-1),
    line(src="10.0.1.1000"),
    line(dst="example.com"),
    line(dhost=["a"]),
    line(code="no_such_code"),
    line(proto_v=13),
]


@pytest.mark.parametrize("text", UNREAD, ids=range(len(UNREAD)))
def test_what_is_no_flow_event_is_unread(text: str) -> None:
    """A file may be anybody's work."""
    with pytest.raises(Unread):
        read_sighting(text)
    with pytest.raises(Unread):
        read_sighting(text.encode())


APART = [
    # what, line, reason, part of the hint
    ("ssh", line("", 22, protocol="ssh", version="2.0"), "SSH carries no name", "discriminat:ssh:NAME on port 22"),
    ("no server_name", line(""), "TLS without a name", "not by its address"),
    ("http", line("a.example.com", 80, protocol="http"), "plaintext HTTP", "https://"),
    ("udp", line("", 123, protocol="unknown", version=""), "neither TLS nor SSH", "only TLS and SSH"),
    ("quic", line("", 443, protocol="unknown", reason=Reason.QUIC), "QUIC is refused", "falls back"),
    ("ech", line(reason=Reason.ECH), "encrypted", "ech in the preferences"),
    ("old tls", line(version="TLS 1.1"), "nothing newer than TLS 1.1", "TLS 1.2"),
    ("a bad hello", line(reason=Reason.SNI_MULTIPLE), "more than one server_name", "no rule mends it"),
    ("listed, elsewhere", line(reason=Reason.DESTINATION_NOT_IN_RULE), "not for this destination", "0.0.0.0/0"),
    ("listed, another address", line(reason=Reason.ADDRESS_MISMATCH), "not an address", "resolver"),
    ("an address as name", line("192.0.2.1"), "not a name", "full names"),
    ("one label", line("localhost"), "not a name", "full names"),
    ("a wildcard", line("*.example.com"), "not a name", "full names"),
    ("no name at all", line("a b\x1b[2J"), "not a name", "full names"),
    ("a public resolver", line("dns.google"), "answers anybody", "by hand"),
    ("a rule that is gone", line(reason=Reason.RULE_REMOVED), "ended", "put it back"),
    ("too long", line(of_length(NAME_MAX + 1, "a")), "longer than", str(NAME_MAX)),
]


@pytest.mark.parametrize(("what", "text", "reason", "hint"), APART, ids=[row[0] for row in APART])
def test_what_no_rule_can_list_is_set_apart(what: str, text: str, reason: str, hint: str) -> None:
    """With the reason, and what to do about it; it never gets into a rule."""
    sighting = read_sighting(text)

    assert sighting is not None
    assert isinstance(sighting.name, Unlistable)
    assert reason in sighting.name.reason
    assert hint in sighting.name.hint
    suggestion = suggested(text)
    assert (suggestion.names, len(suggestion.others)) == (0, 1)
    assert f"no rule: {sighting.name.reason}\n" in render_table(suggestion)


def test_a_tls_client_on_a_port_for_ssh_can_be_listed() -> None:
    """The rules of the port list SSH only, and the name was seen."""
    assert suggested(line(reason=Reason.NOT_SSH)).names == 1


# ---- counting ----


def test_flows_are_counted_by_group_port_protocol_and_name() -> None:
    """With the first and the last time, in whatever order they come."""
    later, earlier = MORNING + timedelta(hours=2), MORNING - timedelta(hours=1)
    suggestion = suggested(
        line(), line(at=later), line("API.EXAMPLE.COM.", at=earlier), line(port=8443), line(gid=OTHER_GROUP)
    )

    assert listed(suggestion) == [
        (GROUP, 443, "tls", "api.example.com", 3),
        (GROUP, 8443, "tls", "api.example.com", 1),
        (OTHER_GROUP, 443, "tls", "api.example.com", 1),
    ]
    tally = suggestion.groups[0].rows[0].tally
    assert (tally.first, tally.last) == (write_time(earlier), write_time(later))


def test_since_is_included_and_until_is_not() -> None:
    """To the millisecond."""
    times = [MORNING + timedelta(milliseconds=step) for step in range(4)]
    suggestion = suggested(*(line(at=at) for at in times), since=write_time(times[1]), until=write_time(times[3]))

    assert listed(suggestion)[0][-1] == 2


def test_other_groups_are_left_out() -> None:
    """Where one was asked for."""
    assert listed(suggested(line(), line(gid=OTHER_GROUP), wanted=[OTHER_GROUP])) == [
        (OTHER_GROUP, 443, "tls", "api.example.com", 1)
    ]


def test_a_name_needs_as_many_flows_as_are_asked_for() -> None:
    """Those below are told, not forgotten."""
    usage = Usage()
    for text in (line(), line(), line("seldom.example.com")):
        usage.read(text)
    suggestion = suggest(usage, min_count=2)

    assert [row[3] for row in listed(suggestion)] == ["api.example.com"]
    assert notes(suggestion) == [f"1 name of {GROUP} below --min-count"]


WORN = [
    NetworkInterface("eni-1", (GROUP,), (parse_ipv4("10.0.1.10"),), (Network.parse("10.0.1.64/28"),)),
    NetworkInterface("eni-2", (GROUP, OTHER_GROUP), (parse_ipv4("10.0.1.11"),), ()),
]


@pytest.mark.parametrize(
    ("client", "wanted", "group"),
    [
        ("10.0.1.10", (), GROUP),
        ("10.0.1.70", (), GROUP),  # of its prefix
        ("10.0.1.11", (), "10.0.1.11"),  # it wears two
        ("10.0.1.11", (OTHER_GROUP,), OTHER_GROUP),
        ("10.0.1.12", (), "10.0.1.12"),
    ],
)
def test_under_the_preferences_see_thru_groups_are_told_from_interfaces(
    client: str, wanted: tuple[str, ...], group: str
) -> None:
    """The group that the client wears; of several the one asked for; and the client's address where it is not known."""
    text = line(gid=DEFAULT, client=client)

    assert [each.group for each in suggested(text, wearers=Wearers(WORN), wanted=wanted).groups] == [group]


def test_flows_that_may_be_of_a_wanted_group_are_told() -> None:
    """Without interfaces nobody knows."""
    suggestion = suggested(line(gid=DEFAULT), wanted=[GROUP])

    assert suggestion.groups == ()
    assert notes(suggestion) == [
        "1 flow of clients whose groups are not known: give --network-interfaces that hold them, unless they are gone"
    ]


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a log holds; flows beyond are counted."""
    monkeypatch.setattr("appliance.usage.NAMES_MAX", 3)
    suggestion = suggested(
        *(line(f"n{index}.example.com") for index in range(5)),
        *(line(f"bad {index}") for index in range(OTHERS_MAX + 7)),
    )

    assert (suggestion.names, len(suggestion.others), suggestion.left_out) == (3, OTHERS_MAX, 2 + 7)
    assert "9 flows to ever more different names are not told apart" in notes(suggestion)


# ---- suspicion ----


def names(count: int, text: str = "d{}.evil.example") -> list[Fqdn]:
    return [Fqdn.parse(text.format(index)) for index in range(count)]


SUSPICIOUS = [
    # names and counts, the parents of the crowds
    ("many, each once", dict.fromkeys(names(CROWD), 1), ["evil.example"]),
    ("each twice", dict.fromkeys(names(CROWD), 2), ["evil.example"]),
    ("not quite so many", dict.fromkeys(names(CROWD - 1), 1), []),
    ("used over and over", dict.fromkeys(names(3 * CROWD), 3), []),
    ("deep", dict.fromkeys(names(CROWD, "a{0}.b{0}.evil.example"), 1), ["evil.example"]),
    ("below a service", dict.fromkeys(names(CROWD, "d{}.x.evil.example"), 1), ["x.evil.example"]),
    ("under different parents", dict.fromkeys(names(CROWD, "www.n{}.example"), 1), []),
    (
        "beside many that are used",
        dict.fromkeys(names(CROWD), 1) | dict.fromkeys(names(CROWD, "used{}.evil.example"), 9),
        [],
    ),
    ("beside a few", dict.fromkeys(names(CROWD), 1) | dict.fromkeys(names(3, "u{}.evil.example"), 9), ["evil.example"]),
]


@pytest.mark.parametrize(("why", "counts", "parents"), SUSPICIOUS, ids=[row[0] for row in SUSPICIOUS])
def test_crowds_of_names_are_found(why: str, counts: dict[Fqdn, int], parents: list[str]) -> None:
    """Very many siblings that are hardly used again."""
    assert [str(crowd.parent) for crowd in crowds(counts)] == parents


def test_a_crowd_is_held_back_and_told() -> None:
    """Its names get into no rule, its neighbours do; whoever has looked can have them."""
    usage = Usage()
    for text in (*(line(str(name)) for name in names(CROWD)), *[line("api.evil.example")] * 3, line()):
        usage.read(text)
    suggestion = suggest(usage)

    assert [row[3] for row in listed(suggestion)] == ["api.evil.example", "api.example.com"]
    assert suggestion.held_back == CROWD
    assert "d0.evil.example" not in render_terraform(suggestion)
    assert f"held back: {CROWD} names below evil.example, each used 2 times at most" in render_table(suggestion)
    assert suggest(usage, kept=[Fqdn.parse("evil.example")]).names == CROWD + 2


# ---- packing ----


def inventory_of(suggestion: Suggestion) -> Inventory:
    """Return groups with the annotations that are suggested."""
    return Inventory(
        tuple(
            SecurityGroup(
                group.group,
                "web",
                tuple(EgressRule("tcp", r.port, r.port, r.destination, r.description) for r in group.rules),
            )
            for group in suggestion.groups
        ),
        (),
    )


def test_rules_hold_what_a_description_does_and_check_finds_nothing() -> None:
    """Several for a port differ in the mask, and both protocols share the masks."""
    both = [line(f"service-{index}.example.com") for index in range(40) for _ in range(3)]
    suggestion = suggested(*both)
    masks = [rule.destination for rule in suggestion.groups[0].rules]

    assert masks == [f"0.0.0.0/{mask}" for mask in range(len(masks))]
    assert len(masks) > 3
    assert lint(inventory_of(suggestion), date(2027, 1, 5), with_interfaces=False).findings == ()
    listing = [*((443, Protocol.TLS, name) for name in names(20)), (443, Protocol.SSH, Fqdn.parse("a.b"))]
    assert len({rule.destination for rule in pack(listing)}) == len(pack(listing))


@pytest.mark.parametrize(("length", "rules"), [(119, 1), (120, 2)])
def test_a_description_is_filled_to_the_last_character(length: int, rules: int) -> None:
    """255 of them, and not one more."""
    names = [Fqdn.parse(of_length(119, "a")), Fqdn.parse(of_length(length, "b"))]
    packed = pack((443, Protocol.TLS, name) for name in names)

    assert len(packed) == rules
    assert max(len(rule.description) for rule in packed) == (255 if rules == 1 else 136)


def test_rules_get_on_with_those_that_the_group_has() -> None:
    """Its masks are left alone, and those of other ports and protocols do not count."""
    rules = (
        EgressRule("tcp", 443, 443, "0.0.0.0/0", "discriminat:tls:b.example.com"),
        EgressRule("6", 443, 443, "0.0.0.0/2", ""),
        EgressRule("tcp", 8443, 8443, "0.0.0.0/1", ""),
        EgressRule("udp", 443, 443, "0.0.0.0/1", ""),
        EgressRule("tcp", 443, 444, "0.0.0.0/1", ""),
        EgressRule("-1", None, None, "0.0.0.0/0", "discriminat:see-thru:2027-01-31"),
    )
    usage = Usage()
    for text in [line(of_length(NAME_MAX, first)) for first in "abc"] + [line(port=22)]:
        usage.read(text)
    (group,) = suggest(usage, existing=[SecurityGroup(GROUP, "web", rules)]).groups

    assert [(rule.port, rule.destination) for rule in group.rules] == [
        (22, "0.0.0.0/0"),
        (443, "0.0.0.0/1"),
        (443, "0.0.0.0/3"),
        (443, "0.0.0.0/4"),
    ]
    both = (*rules, *(EgressRule("tcp", r.port, r.port, r.destination, r.description) for r in group.rules))
    assert (
        lint(Inventory((SecurityGroup(GROUP, "web", both),), ()), date(2027, 1, 5), with_interfaces=False).findings
        == ()
    )
    assert heading(group) == f"{GROUP} (web)"


def test_what_finds_no_mask_is_told() -> None:
    """A port has 33 rules."""
    long = [of_length(NAME_MAX, f"n{index}") for index in range(MASKS + 1)]
    suggestion = suggested(*[line(name) for name in long for _ in range(3)])

    assert [rule.destination for rule in suggestion.groups[0].rules][-1] == ""
    assert notes(suggestion) == [f"port 443 of {GROUP} needs more rules than AWS takes: move names to a second group"]
    assert "tcp/443 in another group  discriminat:tls:" in render_annotations(suggestion)


# ---- what is written ----


def test_terraform_is_for_the_module() -> None:
    """A block for each group; a client whose group is not known gets a variable to fill in."""
    text = render_terraform(suggested(line(), line("git.example.com", gid=DEFAULT)), "./m")

    assert f'security_group_id = "{GROUP}"' in text
    assert 'variable "group_of_10_0_1_10" {' in text
    assert "security_group_id = var.group_of_10_0_1_10" in text
    assert text.count('source = "./m"') == 2


def test_a_source_is_a_text_to_terraform() -> None:
    """What is given for it cannot end the string, nor begin a template."""
    assert r'source = "a\"$${b}%%{c}"' in render_terraform(suggested(line()), 'a"${b}%{c}')


HOSTILE = '"]}\n\x1b[2J</td><script>alert(1)</script>${file("/etc/passwd")}'


def test_a_hostile_name_stays_text() -> None:
    """It is shown quoted, or escaped, and stands in no Terraform."""
    suggestion = suggested(line(HOSTILE), line())

    assert "passwd" not in render_terraform(suggestion)
    for text in (render_table(suggestion), render_annotations(suggestion), render_page(suggestion)):
        assert re.fullmatch(r"[\n\x20-\x7e]*", text)
    page = render_page(suggestion)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_page_needs_nothing_else() -> None:
    """No script, no address, and a policy that lets nothing load."""
    page = render_page(suggested(line()))

    assert "default-src 'none'" in page
    assert not re.search(r"<script|<link|<img|\bsrc=|\bhref=|url\(|@import|\bon[a-z]+=", page)
    assert "api.example.com" in page


def test_nothing_is_said_to_be_nothing() -> None:
    """An empty log is an answer as well."""
    assert render_table(suggested()).startswith("nothing to list")
    assert "Nothing to list" in render_page(suggested())
    assert "module" not in render_terraform(suggested()).splitlines()[-1]
    assert offer_document(suggested())["groups"] == []


# ---- times ----

NOW = datetime(2027, 1, 5, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2027-01-05", datetime(2027, 1, 5, tzinfo=UTC)),
        ("2027-01-05T09:30", datetime(2027, 1, 5, 9, 30, tzinfo=UTC)),
        ("2027-01-05T09:30:01.5Z", datetime(2027, 1, 5, 9, 30, 1, 500000, tzinfo=UTC)),
        ("14d", NOW - timedelta(days=14)),
        ("6h", NOW - timedelta(hours=6)),
        ("30m", NOW - timedelta(minutes=30)),
    ],
)
def test_a_time_is_understood(text: str, moment: datetime) -> None:
    """In UTC, or how long ago."""
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2027-02-29", "2027-01-05T25:00", "0d", "1w", "2027-1-5", "14d\n", "٣d"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """With what to write."""
    with pytest.raises(PolicyError) as refused:
        parse_moment(text, NOW)
    assert "2027-01-05" in refused.value.hint


def test_the_servers_address_is_no_name() -> None:
    """Where no name was seen the log has the address."""
    assert f'"dhost": "{SERVER}"' in line("").replace('":"', '": "')
