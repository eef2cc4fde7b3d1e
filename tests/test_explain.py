"""Explanations: the outcome is the engine's, and what is said beside it is what one needs to know next."""

import json
from datetime import date
from pathlib import Path

import pytest

from appliance.account import explanation_document, render_explanation
from appliance.address import parse_ipv4
from appliance.edge.ec2 import parse_network_interfaces, parse_security_groups
from appliance.errors import InvalidAddress, InvalidName, PolicyError
from appliance.explanation import Explanation, explain
from appliance.policy.addresses import Answer
from appliance.policy.inventory import EgressRule, Inventory, NetworkInterface, SecurityGroup
from appliance.policy.preferences import DEFAULTS, write_preferences
from appliance.preferred import Preferred
from appliance.question import Question

VECTORS = Path(__file__).parent / "vectors/aws"
TODAY = date(2027, 1, 5)
EVERYWHERE = "0.0.0.0/0"
CLIENT = "10.0.1.10"
INSIDE, OUTSIDE = "198.51.100.7", "203.0.113.10"  # of 198.51.100.0/24


def tcp(description: str, destination: str = EVERYWHERE, port: int = 443) -> EgressRule:
    return EgressRule("tcp", port, port, destination, description)


def vpc(**groups: list[EgressRule]) -> Inventory:
    """Return a VPC with these groups, where CLIENT wears all but those whose names begin with `other`."""
    worn = tuple(f"sg-{name}" for name in groups if not name.startswith("other"))
    return Inventory(
        tuple(SecurityGroup(f"sg-{name}", name, tuple(rules)) for name, rules in groups.items()),
        (NetworkInterface("eni-1", worn, (parse_ipv4(CLIENT),), ()),),
    )


def ask(
    inventory: Inventory,
    *,
    client: str = CLIENT,
    name: str = "api.example.com",
    port: str = "443",
    protocol: str = "tls",
    address: str | None = None,
    resolved: tuple[str, ...] | None = None,
    error: str = "",
    preferred: dict[str, object] | None = None,
) -> Explanation:
    question = Question.parse(client=client, port=port, protocol=protocol, name=name, address=address)
    addresses = tuple(map(parse_ipv4, resolved or ()))
    answer = None if resolved is None and not error else Answer(question.name, addresses, 60.0, error)
    if preferred is None:
        return explain(inventory, question, TODAY, answer)
    return explain(inventory, question, TODAY, answer, Preferred.parse(json.dumps({"%default": preferred}), "P"))


WEB = [
    tcp("discriminat:tls:api.example.com"),
    tcp("discriminat:tls:partner.example.com", "198.51.100.0/24"),
    tcp("discriminat:ssh:git.example.com", port=22),
]

HALF = [tcp("discriminat:tls:api.example.com", "0.0.0.0/1")]

OUTCOMES = [
    # inventory, question, passes, code
    (vpc(web=WEB), {}, True, "name_listed"),
    (vpc(web=WEB), {"name": "API.example.com."}, True, "name_listed"),
    (vpc(web=WEB), {"address": OUTSIDE}, True, "name_listed"),
    (vpc(web=WEB), {"address": OUTSIDE, "resolved": (OUTSIDE,)}, True, "name_listed"),
    (vpc(web=WEB), {"address": OUTSIDE, "resolved": (INSIDE,)}, False, "address_mismatch"),
    (vpc(web=WEB), {"resolved": (INSIDE, OUTSIDE)}, True, "name_listed"),
    (vpc(web=WEB), {"error": "nxdomain"}, False, "name_unresolved"),
    (vpc(web=WEB), {"resolved": ("10.0.0.9",)}, False, "answer_private"),
    (vpc(web=WEB), {"resolved": ("10.0.0.9", OUTSIDE)}, True, "name_listed"),
    (vpc(web=WEB), {"address": "10.0.0.9"}, False, "destination_private"),
    (vpc(web=WEB), {"name": "other.example.com"}, False, "name_not_listed"),
    (vpc(web=WEB), {"port": "8443"}, False, "port_not_listed"),
    (vpc(web=WEB), {"client": "10.0.1.99"}, False, "client_unknown"),
    (vpc(web=[tcp("")]), {}, False, "client_not_annotated"),
    # the rule's destination
    (vpc(web=WEB), {"name": "partner.example.com"}, True, "name_listed"),
    (vpc(web=WEB), {"name": "partner.example.com", "address": INSIDE}, True, "name_listed"),
    (vpc(web=WEB), {"name": "partner.example.com", "address": OUTSIDE}, False, "destination_not_in_rule"),
    (vpc(web=WEB), {"name": "partner.example.com", "resolved": (INSIDE, OUTSIDE)}, False, "destination_not_in_rule"),
    # protocols
    (vpc(web=WEB), {"name": "git.example.com", "port": "22", "protocol": "ssh"}, True, "address_listed"),
    (vpc(web=WEB), {"name": "hub.example.com", "port": "22", "protocol": "ssh"}, False, "address_mismatch"),
    (vpc(web=WEB), {"name": "git.example.com", "port": "22"}, False, "not_ssh"),
    (vpc(web=WEB), {"protocol": "ssh"}, False, "not_tls"),
    # see-thru
    (vpc(web=[tcp("discriminat:see-thru:2027-01-05")]), {}, True, "client_not_annotated"),
    (vpc(web=[tcp("discriminat:see-thru:2027-01-04")]), {}, False, "client_not_annotated"),
    (vpc(web=WEB, spy=[tcp("discriminat:see-thru:2027-02-01")]), {"name": "x.example.com"}, True, "name_not_listed"),
    (vpc(web=[tcp("discriminat:see-thru:2027-02-01")]), {"address": "10.0.0.9"}, False, "destination_private"),
    # see-thru of the preferences
    (vpc(web=[tcp("")]), {"preferred": {"see_thru": "2027-01-05"}}, True, "client_not_annotated"),
    (vpc(web=[tcp("")]), {"preferred": {"see_thru": "2027-01-04"}}, False, "client_not_annotated"),
    (
        vpc(web=[tcp("")]),
        {"preferred": {"see_thru": "2027-02-01"}, "address": "10.0.0.9"},
        False,
        "destination_private",
    ),
    (vpc(web=WEB), {"preferred": {"see_thru": "2027-02-01"}, "client": "10.0.1.99"}, False, "client_unknown"),
    (vpc(web=WEB), {"preferred": {"see_thru": "2027-02-01"}, "name": "x.example.com"}, True, "name_not_listed"),
    # AWS's own enforcement
    (vpc(web=HALF), {}, True, "name_listed"),
    (vpc(web=HALF), {"address": OUTSIDE}, False, "name_listed"),
    (vpc(web=HALF), {"address": "9.9.9.9"}, True, "name_listed"),
    (vpc(web=HALF, plain=[tcp("")]), {"address": OUTSIDE}, True, "name_listed"),
    (vpc(web=[tcp("discriminat:see-thru:2027-02-01")]), {"port": "8443"}, False, "client_not_annotated"),
]


@pytest.mark.parametrize(("inventory", "question", "passes", "code"), OUTCOMES)
def test_outcome(inventory: Inventory, question: dict[str, str], passes: bool, code: str) -> None:
    """The reason is the one the log would hold, and a connection passes if nobody on its way drops it."""
    explanation = ask(inventory, **question)  # type: ignore[arg-type]

    assert (explanation.passes, explanation.decision.reason) == (passes, code)


NOTES = [
    # why, inventory, question, notes
    ("nothing to add", vpc(web=WEB), {}, []),
    (
        "another port",
        vpc(web=[tcp("discriminat:tls:api.example.com", port=8443), tcp("discriminat:tls:web.example.org")]),
        {},
        ["api.example.com is listed by tcp/8443 0.0.0.0/0 of sg-web (web): for port 8443, not 443"],
    ),
    (
        "another protocol",
        vpc(web=[tcp("discriminat:ssh:api.example.com discriminat:tls:web.example.org")]),
        {},
        ["api.example.com is listed by tcp/443 0.0.0.0/0 of sg-web (web): for ssh, not tls"],
    ),
    (
        "another group",
        vpc(web=[tcp("discriminat:tls:web.example.org")], other=[tcp("discriminat:tls:api.example.com")]),
        {},
        [
            (
                "api.example.com is listed by tcp/443 0.0.0.0/0 of sg-other (other):"
                " in a group that the client does not wear"
            )
        ],
    ),
    (
        "the nearest first",
        vpc(
            other=[tcp("discriminat:ssh:api.example.com", port=22)],
            web=[tcp("discriminat:tls:web.example.org"), tcp("discriminat:tls:api.example.com", port=8443)],
        ),
        {},
        [
            "api.example.com is listed by tcp/8443 0.0.0.0/0 of sg-web (web): for port 8443, not 443",
            (
                "api.example.com is listed by tcp/22 0.0.0.0/0 of sg-other (other):"
                " for port 22, not 443; for ssh, not tls; in a group that the client does not wear"
            ),
        ],
    ),
    (
        "a slip",
        vpc(web=[tcp("discriminat:tls:api.exmaple.com")]),
        {},
        ["api.exmaple.com is listed, which looks like it: see tcp/443 0.0.0.0/0"],
    ),
    (
        "an annotation that was rejected",
        vpc(web=[tcp("discriminat:tls:web.example.org, api.example.com")]),
        {},
        [
            (
                "in the description of tcp/443 0.0.0.0/0 of sg-web (web), there is a space inside the list, so it ends"
                " before this (write discriminat:tls:web.example.org,api.example.com)"
            )
        ],
    ),
    (
        "others that were rejected",
        vpc(web=[tcp("discriminat:tls:web.example.org,x,y")]),
        {},
        ["2 parts of the annotations in the client's groups grant nothing: see `discriminat check`"],
    ),
    (
        "a pattern that was rejected, among others",
        vpc(web=[tcp("discriminat:tls:web.example.org,*.example.com,*.com")]),
        {"name": "www.com"},
        [
            (
                "in the description of tcp/443 0.0.0.0/0 of sg-web (web), *.com cannot be judged: there is no Public"
                " Suffix List here (install Debian's package publicsuffix, or Python's publicsuffixlist)"
            ),
            "1 more part of the annotations in the client's groups grants nothing: see `discriminat check`",
        ],
    ),
    (
        "a destination that the same name has in another group",
        vpc(web=WEB, other=[tcp("discriminat:tls:partner.example.com")]),
        {"name": "partner.example.com", "address": OUTSIDE},
        [
            (
                "partner.example.com is listed by tcp/443 0.0.0.0/0 of sg-other (other):"
                " in a group that the client does not wear"
            )
        ],
    ),
    (
        "a narrow rule, and no address",
        vpc(web=WEB),
        {"name": "partner.example.com"},
        ["the name is listed for 198.51.100.0/24 alone: give --address to ask about one server"],
    ),
    (
        "addresses of two kinds",
        vpc(web=WEB),
        {"name": "partner.example.com", "resolved": (INSIDE, OUTSIDE)},
        ["198.51.100.7 would be allowed", "203.0.113.10 would be refused: destination_not_in_rule"],
    ),
    (
        "the 0.0.0.0/1 trap",
        vpc(web=HALF),
        {},
        [
            (
                "AWS itself lets the client out to 0.0.0.0/1 alone on TCP port 443,"
                " and drops the rest before it comes to the appliance"
            )
        ],
    ),
    (
        "the 0.0.0.0/1 trap, sprung",
        vpc(web=HALF),
        {"address": OUTSIDE},
        [
            (
                "AWS itself lets the client out to 0.0.0.0/1 alone on TCP port 443:"
                " make the destination of a rule for this port 0.0.0.0/0"
            )
        ],
    ),
    (
        "no egress rule",
        vpc(web=[tcp("discriminat:tls:web.example.org", port=22)]),
        {},
        ["AWS itself lets the client out to nowhere on TCP port 443: no egress rule of its groups covers it"],
    ),
    ("nothing preferred", vpc(web=WEB), {"preferred": {}}, []),
    (
        "ech",
        vpc(web=WEB),
        {"preferred": {"ech": "allow"}},
        ["a hello that hides its real name behind this one passes too: ech is allowed"],
    ),
    (
        "ech, and ssh",
        vpc(web=WEB),
        {"preferred": {"ech": "allow"}, "name": "git.example.com", "port": "22", "protocol": "ssh"},
        [],
    ),
    (
        "ech of a name that is not listed",
        vpc(web=[tcp("discriminat:tls:web.example.org")]),
        {"preferred": {"ech": "allow"}},
        [],
    ),
    (
        "a SYN that is held back",
        vpc(web=[tcp("discriminat:tls:web.example.org")]),
        {"preferred": {"syn_gate": "on"}},
        [
            (
                "unless another name of this port has the address, or a pattern is listed for the port, "
                "the SYN is refused as address_not_listed: syn_gate is on"
            )
        ],
    ),
    (
        "an event that is not written",
        vpc(web=WEB),
        {"preferred": {"flow_log_verbosity": "only_disallowed"}},
        ['the flow log says nothing of it: flow_log_verbosity is "only_disallowed"'],
    ),
    (
        "an event that is written all the same",
        vpc(web=WEB),
        {"preferred": {"flow_log_verbosity": "only_disallowed"}, "address": "10.0.0.9"},
        [],
    ),
    (
        "a destination in a client network",
        vpc(web=WEB),
        {"preferred": {"clients": ["203.0.113.0/24"]}, "address": OUTSIDE},
        [
            (
                "203.0.113.10 is in 203.0.113.0/24, a client network of the preferences:"
                " packets to it keep the client's own address, so that no answer finds its way back"
            )
        ],
    ),
    (
        "an unknown client in a client network",
        vpc(web=WEB),
        {"preferred": {"clients": ["10.0.1.0/24"]}, "client": "10.0.1.99"},
        [
            "looked at 1 interface: is the client in another VPC?",
            "it is in 10.0.1.0/24, a client network of the preferences: a reset answers it, and it is logged",
        ],
    ),
    (
        "an unknown client in no client network",
        vpc(web=WEB),
        {"preferred": {}, "client": "10.0.1.99"},
        [
            "looked at 1 interface: is the client in another VPC?",
            "it is in no client network of the preferences: from outside the VPC its packets vanish, without a line",
        ],
    ),
    (
        "preferences with mistakes",
        vpc(web=WEB),
        {"preferred": {"ech": "alow", "sea_thru": None}},
        [
            ('preferences: ech "alow" is not a choice, and "deny" stays in force; write "deny" or "allow"'),
            "preferences: 'sea_thru' is unknown, and ignored; did you mean see_thru?",
            "what is wrong in the preferences leaves in force what was right before: /healthz tells it",
        ],
    ),
    (
        "an unknown client",
        vpc(web=WEB),
        {"client": "10.0.1.99"},
        ["looked at 1 interface: is the client in another VPC?"],
    ),
]


@pytest.mark.parametrize(("inventory", "question", "notes"), [row[1:] for row in NOTES], ids=[row[0] for row in NOTES])
def test_notes(inventory: Inventory, question: dict[str, str], notes: list[str]) -> None:
    """What comes close to the connection is told, the nearest first; what does not is left out."""
    assert list(ask(inventory, **question).notes) == notes  # type: ignore[arg-type]


def test_a_group_that_was_not_given_leaves_room_for_doubt() -> None:
    """Without all the client's groups, nobody can say that AWS drops a packet."""
    inventory = vpc(web=[tcp("discriminat:tls:api.example.com", "0.0.0.0/1")], lost=[])
    explanation = ask(Inventory(inventory.groups[:1], inventory.interfaces), address=OUTSIDE)

    assert explanation.is_let_out is None
    assert explanation.passes
    assert explanation.notes[0] == "the client wears sg-lost, which is not among the Security Groups given"


def test_of_two_grants_the_later_counts() -> None:
    """Whichever gives it, a group or the preferences: as in the log."""
    inventory = vpc(web=WEB, spy=[tcp("discriminat:see-thru:2027-01-10", port=9999)])
    gids = []
    for day in ("2027-01-09", "2027-01-10", "2027-01-11"):
        grant = ask(inventory, preferred={"see_thru": day}).see_thru
        assert grant is not None
        gids.append(grant.gid)

    assert gids == ["sg-spy", "sg-spy", "%default"]


def test_a_parameter_that_is_gone_means_the_defaults() -> None:
    """As in the appliance; and it is said."""
    question = Question.parse(client=CLIENT, port="443", protocol="tls", name="api.example.com", address=None)
    explanation = explain(vpc(web=WEB), question, TODAY, None, Preferred.parse(None, "SSM parameter P"))

    assert explanation.preferred.preferences == DEFAULTS
    assert explanation.notes == ("SSM parameter P does not exist, and the safe defaults are in force",)


def test_a_prefix_list_leaves_room_for_doubt() -> None:
    """AWS enforces prefix lists, whose addresses are not known here."""
    explanation = ask(
        vpc(web=[tcp("discriminat:tls:api.example.com", "0.0.0.0/1"), tcp("", "pl-1234")]), address=OUTSIDE
    )

    assert explanation.is_let_out is None
    assert "0.0.0.0/1, pl-1234" in explanation.notes[0]


def test_every_address_of_a_delegated_prefix_is_a_client() -> None:
    """A pod is explained by the interface that carries its prefix."""
    inventory = Inventory(
        parse_security_groups(json.loads((VECTORS / "groups.json").read_text())),
        parse_network_interfaces(json.loads((VECTORS / "interfaces.json").read_text())),
    )
    explanation = ask(inventory, client="10.0.1.215")

    assert explanation.passes
    assert explanation.interfaces == ("eni-00000000000000001",)
    assert explanation.groups == {"sg-0a00000000000001a": "web"}


TEXTS = [
    # question, text
    (
        {},
        """\
allowed: 10.0.1.10 to api.example.com on port 443 (tls)
  reason    name_listed: the name is listed and the destination is one of its addresses
  client    eni-1
            in sg-spy (spy)
            in sg-web (web)
  rule      tcp/443 0.0.0.0/0 of sg-web (web)
            discriminat:tls:api.example.com
  address   any, if the VPC resolver gives it for api.example.com (--resolve asks this machine's)
  see-thru  ended on 2027-01-04, 1 day ago, by tcp/9999 0.0.0.0/0 of sg-spy (spy)
  preferred nobody was asked, so that the defaults are taken for granted (--preferences FILE)
""",
    ),
    (
        {"name": "partner.example.com", "address": OUTSIDE},
        """\
refused: 10.0.1.10 to partner.example.com on port 443 (tls)
  reason    destination_not_in_rule: the name is listed, but not for this destination: see the rule's CIDR
            203.0.113.10 is outside 198.51.100.0/24
  client    eni-1
            in sg-spy (spy)
            in sg-web (web)
  rule      tcp/443 198.51.100.0/24 of sg-web (web)
            discriminat:tls:partner.example.com
  address   203.0.113.10
  see-thru  ended on 2027-01-04, 1 day ago, by tcp/9999 0.0.0.0/0 of sg-spy (spy)
  preferred nobody was asked, so that the defaults are taken for granted (--preferences FILE)
""",
    ),
    (
        {"name": "git.example.com", "port": "22", "protocol": "ssh", "resolved": (INSIDE, OUTSIDE)},
        """\
allowed: 10.0.1.10 to git.example.com on port 22 (ssh)
  reason    address_listed: the destination is an address of a listed name
  client    eni-1
            in sg-spy (spy)
            in sg-web (web)
  rule      tcp/22 0.0.0.0/0 of sg-web (web)
            discriminat:ssh:git.example.com
  address   this machine's resolver gives 198.51.100.7, 203.0.113.10 for git.example.com
            ssh carries no name: the address decides
  see-thru  ended on 2027-01-04, 1 day ago, by tcp/9999 0.0.0.0/0 of sg-spy (spy)
  preferred nobody was asked, so that the defaults are taken for granted (--preferences FILE)
""",
    ),
    (
        {"client": "10.0.1.99"},
        """\
refused: 10.0.1.99 to api.example.com on port 443 (tls)
  reason    client_unknown: no network interface of this VPC has the source address
            10.0.1.99 is none of the 1 known addresses
  client    on no network interface
  see-thru  none
  preferred nobody was asked, so that the defaults are taken for granted (--preferences FILE)
  note      looked at 1 interface: is the client in another VPC?
""",
    ),
    (
        {"name": "other.example.org", "preferred": {"see_thru": "2027-01-06", "flow_log_verbosity": "none"}},
        """\
refused by the rules, but see-thru lets it pass: 10.0.1.10 to other.example.org on port 443 (tls)
  reason    name_not_listed: the name is not listed for this port
            listed: api.example.com, partner.example.com
  client    eni-1
            in sg-spy (spy)
            in sg-web (web)
  see-thru  until 2027-01-06, 1 day remaining, for every known client, by the preferences (%default)
  preferred by P
            flow_log_verbosity: "none", see_thru: "2027-01-06", ech: "deny", clients: [], syn_gate: "off", wildcard_exposure: "prohibit_public_suffix", x509_crls: "ignore", x509_crl_hosts: [], private_destinations: [], grace: null, policy_poll_interval: null, preferences_interval: null
  note      the flow log says nothing of it: flow_log_verbosity is "none"
""",  # noqa: E501 -- as it is printed
    ),
]


@pytest.mark.parametrize(("question", "text"), TEXTS)
def test_text(question: dict[str, str], text: str) -> None:
    """The outcome comes first, then the reason, the client, the rule with its annotation, and the rest."""
    inventory = vpc(web=WEB, spy=[tcp("discriminat:see-thru:2027-01-04", port=9999)])

    assert render_explanation(ask(inventory, **question)) == text  # type: ignore[arg-type]


FIRST_LINES = [
    (vpc(web=WEB), {}, "allowed: "),
    (vpc(web=WEB), {"name": "x.example.com"}, "refused: "),
    (vpc(web=[tcp("discriminat:see-thru:2027-02-01")]), {}, "refused by the rules, but see-thru lets it pass: "),
    (
        vpc(web=HALF),
        {"address": OUTSIDE},
        "allowed by the rules, but AWS drops it: ",
    ),
]


@pytest.mark.parametrize(("inventory", "question", "start"), FIRST_LINES)
def test_first_line(inventory: Inventory, question: dict[str, str], start: str) -> None:
    """The first line alone tells what would happen, and through whom."""
    text = render_explanation(ask(inventory, **question))  # type: ignore[arg-type]

    assert text.startswith(f"{start}{CLIENT} to ")


def test_document_speaks_the_log_s_language() -> None:
    """Where the flow log has a field, the document has it under the same name."""
    inventory = vpc(web=WEB, spy=[tcp("discriminat:see-thru:2027-01-15", port=9999)])
    document = explanation_document(ask(inventory, name="other.example.org", address=OUTSIDE))

    assert json.loads(json.dumps(document)) == {
        "passes": True,
        "outcome": "disallowed",
        "code": "name_not_listed",
        "reason": "the name is not listed for this port",
        "detail": "listed: api.example.com, partner.example.com",
        "src": CLIENT,
        "dhost": "other.example.org",
        "dpt": 443,
        "proto": "tls",
        "dst": [OUTSIDE],
        "interfaces": ["eni-1"],
        "groups": [{"gid": "sg-spy", "name": "spy"}, {"gid": "sg-web", "name": "web"}],
        "gid": "",
        "rule": "",
        "description": "",
        "dns_asked": False,
        "dns_error": "",
        "dns_addresses": [],
        "aws_lets_out": True,
        "preferences": write_preferences(DEFAULTS),
        "preferences_source": "",
        "flow_logged": True,
        "notes": [],
        "see_thru_exerted": True,
        "see_thru_gid": "sg-spy",
        "see_thru_days_remaining": 10,
    }


NO_QUESTIONS = [
    ({"client": "10.0.1"}, InvalidAddress),
    ({"client": "10.0.1.10/32"}, InvalidAddress),
    ({"address": "2001:db8::1"}, InvalidAddress),
    ({"name": "localhost"}, InvalidName),
    ({"name": "203.0.113.10"}, InvalidName),
    ({"name": "*.example.com"}, InvalidName),
    ({"port": "0"}, PolicyError),
    ({"port": "65536"}, PolicyError),
    ({"port": "443443443443"}, PolicyError),
    ({"port": "https"}, PolicyError),
    ({"port": "-1"}, PolicyError),
    ({"port": "\u0664"}, PolicyError),  # a digit, but not one of ours
    ({"protocol": "https"}, PolicyError),
]


@pytest.mark.parametrize(("question", "error"), NO_QUESTIONS)
def test_what_is_no_question(question: dict[str, str], error: type[PolicyError]) -> None:
    """An argument that cannot be meant is refused with a hint, before anything is read."""
    with pytest.raises(error) as caught:
        ask(vpc(web=WEB), **question)  # type: ignore[arg-type]

    assert caught.value.hint


# ---- plaintext ----

FETCHING: dict[str, object] = {"x509_crls": "allow", "x509_crl_hosts": ["pki.example.com/CertEnroll"]}
CRLS = "crl3.digicert.com"
PORT_80 = [tcp("discriminat:tls:api.example.com", port=80), *WEB]
FETCHES = [
    # inventory, preferences, question, code, part of a note
    (WEB, FETCHING, {"name": CRLS}, "crl_listed", "one a connection"),
    (PORT_80, FETCHING, {"name": CRLS}, "crl_listed", "one a connection"),
    ([tcp("")], FETCHING, {"name": "ocsp.digicert.com"}, "ocsp_listed", "one a connection"),
    (WEB, FETCHING, {"name": "pki.example.com"}, "crl_listed", "one a connection"),
    (WEB, FETCHING, {"name": CRLS, "resolved": (INSIDE,), "address": OUTSIDE}, "address_mismatch", "AWS itself"),
    (WEB, FETCHING, {"name": CRLS, "client": "10.0.1.11"}, "client_unknown", "is the client in another VPC"),
    (WEB, FETCHING, {"name": CRLS, "address": "10.0.0.9"}, "destination_private", "AWS itself"),
    (WEB, FETCHING, {"name": "www.example.com"}, "http_plaintext", "x509_crl_hosts names hosts"),
    (WEB, FETCHING, {"name": CRLS, "port": "8080"}, "port_not_listed", "on no port but 80"),
    (WEB, FETCHING, {"name": CRLS, "port": "443"}, "http_plaintext", "on no port but 80"),
    (WEB, FETCHING, {"name": CRLS, "port": "22"}, "not_ssh", "on no port but 80"),
    (WEB, {}, {"name": CRLS}, "port_not_listed", 'which pass if x509_crls is "allow"'),
    (PORT_80, {}, {"name": CRLS}, "http_plaintext", 'which pass if x509_crls is "allow"'),
    (PORT_80, {}, {"name": "pki.example.com"}, "http_plaintext", "x509_crl_hosts names hosts"),
]


@pytest.mark.parametrize(("rules", "preferred", "question", "code", "note"), FETCHES)
def test_plaintext_is_explained(
    rules: list[EgressRule], preferred: dict[str, object], question: dict[str, str], code: str, note: str
) -> None:
    """It passes by the preferences alone."""
    asked = {"protocol": "http", "port": "80", **question}
    explanation = ask(vpc(web=rules), preferred=preferred, **asked)  # type: ignore[arg-type]

    assert explanation.decision.reason == code
    assert any(note in each for each in explanation.notes), explanation.notes
    assert explanation_document(explanation)["proto"] == "http"
