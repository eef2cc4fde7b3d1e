"""Lists of names that are kept elsewhere: how they are referred to, what they hold, and what they grant."""

import pytest

from appliance.errors import InvalidList, InvalidReference
from appliance.policy.annotation import Allow, parse_description
from appliance.policy.exposure import Exposure, Guard
from appliance.policy.inventory import EgressRule, Inventory, SecurityGroup
from appliance.policy.location import Location, Service, locate, parse_aliases
from appliance.policy.name_list import FAULTS_TOLD, OCTETS_MAX, Judge, NameList, parse_list
from appliance.policy.policy import Policy, compile_policy, diff_policy
from appliance.policy.reference import Reference, Store

REFERENCE = Reference.parse("@ssm/apps/acme/allow")
SECRET = Reference.parse("@secret/apps/acme/allow")

# ---- references ----

WRITTEN = [
    # text                    store, name as AWS has it
    ("@ssm/apps/acme/allow", Store.PARAMETER, "/apps/acme/allow"),
    ("@SSM/apps/Acme/Allow", Store.PARAMETER, "/apps/Acme/Allow"),  # AWS's names have their case
    ("@ssm/acme-allow", Store.PARAMETER, "acme-allow"),
    ("@ssm/awsome/a", Store.PARAMETER, "/awsome/a"),
    ("@secret/apps/acme/allow", Store.SECRET, "apps/acme/allow"),
    ("@Secret/a+b=c.d@e_f-G", Store.SECRET, "a+b=c.d@e_f-G"),
    ("@list/central", Store.ALIAS, "central"),
    ("@list/Central", Store.ALIAS, "central"),
    ("@ssm/" + "/".join("abcdefghijklmno"), Store.PARAMETER, "/" + "/".join("abcdefghijklmno")),  # 15 levels
]


@pytest.mark.parametrize(("text", "store", "name"), WRITTEN)
def test_a_reference_says_where_its_list_is(text: str, store: Store, name: str) -> None:
    """In the store's own words; its text refers to the same."""
    reference = Reference.parse(text)

    assert (reference.store, reference.name) == (store, name)
    assert Reference.parse(str(reference)) == reference


MISSES = [
    # text                    message, hint
    ("@ssm:/a", "refers to no list", "write @ssm/a"),
    ("@ssm//a", "empty level", "write @ssm/a"),
    ("@ssm/a/", "empty level", "write @ssm/a"),
    ("@ssm/a//b", "empty level", "write @ssm/a/b"),
    ("@ssm/", "refers to no list", "write @ssm/NAME"),
    ("@ssm", "refers to no list", "write @ssm/NAME"),
    ("ssm/a", "refers to no list", "write @ssm/a"),
    ("secret/a", "refers to no list", "write @secret/a"),
    ("@secrets/a", "refers to no list", "write @secret/a"),
    ("@parameter/a/b", "refers to no list", "write @ssm/a/b"),
    ("@arn:aws:ssm:eu-west-1:222222222222:parameter/a", "is an ARN", "([lists] arns), and write @list/NAME"),
    ("arn:aws:ssm:eu-west-1:222222222222:parameter/a", "is an ARN", "([lists] arns), and write @list/NAME"),
    ("@s3/bucket", "refers to no list", "@list/NAME for one"),
    ("@", "refers to no list", "@list/NAME for one"),
    ("@\u017fsm/a", "refers to no list", "@list/NAME for one"),  # LONG S is an s to str.upper()
    # nothing but the name itself can be asked for
    ("@ssm/a:3", "refers to no list", "a parameter's name is made of"),
    ("@ssm/a/b:label", "refers to no list", "a parameter's name is made of"),
    ("@ssm/aws/reference/secretsmanager/db", "of AWS's own", "a parameter of yours"),
    ("@ssm/AWS/service/x", "of AWS's own", "a parameter of yours"),
    ("@ssm/a*", "refers to no list", "a parameter's name is made of"),
    ("@ssm/a?b", "refers to no list", "a parameter's name is made of"),
    ("@ssm/a\n", "refers to no list", "a parameter's name is made of"),
    ("@secret/arn:aws:x", "refers to no list", "a secret's name is made of"),
    ("@list/a_b", "refers to no list", "1 to 64"),
    ("@list/" + "a" * 65, "refers to no list", "1 to 64"),
    ("@ssm/" + "/".join("abcdefghijklmnop"), "too long", "15 levels"),
    ("@ssm/a/" + "b" * 1010, "too long", "1011"),
    ("@secret/" + "b" * 513, "too long", "512"),
]


@pytest.mark.parametrize(("text", "message", "hint"), MISSES)
def test_what_refers_to_nothing_is_explained(text: str, message: str, hint: str) -> None:
    """It is a fault of the annotation with a correction; the name beside it counts."""
    with pytest.raises(InvalidReference) as caught:
        Reference.parse(text)

    assert message in caught.value.message
    assert hint in caught.value.hint
    if text == text.strip():
        description = parse_description(f"discriminat:tls:{text},a.com")
        (allow,) = description.annotations
        assert isinstance(allow, Allow)
        assert [str(name) for name in allow.names] == ["a.com"]
        assert not allow.references
        assert [fault.message for fault in description.faults] == [caught.value.message]


def test_an_annotation_holds_references_among_its_names() -> None:
    """Each with its place, once; a comma ends it."""
    text = "discriminat:tls:@ssm/apps/acme/allow,a.com,*.b.com,@SSM/apps/acme/allow,@secret/x for jo"
    description = parse_description(text)
    (allow,) = description.annotations

    assert isinstance(allow, Allow)
    assert not description.faults
    assert [(str(each), text[slice(*span)]) for each, span in allow.references] == [
        ("@ssm/apps/acme/allow", "@ssm/apps/acme/allow"),
        ("@secret/x", "@secret/x"),
    ]


def test_a_reference_behind_a_space_is_told() -> None:
    """As a name would be."""
    (fault,) = parse_description("discriminat:tls:a.com, @ssm/Apps/x").faults

    assert fault.hint == "write discriminat:tls:a.com,@ssm/Apps/x"


ARN = "arn:aws:ssm:eu-west-1:222222222222:parameter/egress/central"
SECRET_ARN = "arn:aws-us-gov:secretsmanager:us-gov-west-1:222222222222:secret:apps/x-AbCdEf"


def test_aliases_are_arns_of_any_region() -> None:
    """The ARN decides on the service and the Region; an alias that nobody gave is nowhere."""
    aliases = parse_aliases([f"central={ARN}", f"Gov = {SECRET_ARN}"])

    assert locate(Reference.parse("@list/central"), aliases) == Location(Service.SSM, ARN, "eu-west-1")
    assert locate(Reference.parse("@list/gov"), aliases) == Location(Service.SECRETS, SECRET_ARN, "us-gov-west-1")
    assert locate(Reference.parse("@list/other"), aliases) is None
    assert locate(REFERENCE, aliases) == Location(Service.SSM, "/apps/acme/allow")
    assert locate(SECRET, aliases) == Location(Service.SECRETS, "apps/acme/allow")


@pytest.mark.parametrize(
    "texts",
    [
        [ARN],
        ["=" + ARN],
        ["a_b=" + ARN],
        ["a=" + ARN, "A=" + ARN],
        ["a=" + ARN + ":3"],  # a version
        ["a=" + ARN + "\nx"],
        ["a=arn:aws:s3:::bucket"],
        ["a=arn:aws:ssm:eu-west-1:222222222222:parameter//x"],
        ["a=arn:aws:ssm::222222222222:parameter/x"],
        ["a=/apps/acme"],
        ["a="],
    ],
)
def test_what_is_no_alias_is_refused(texts: list[str]) -> None:
    """A setting that cannot be meant does not start the program."""
    with pytest.raises(InvalidReference):
        parse_aliases(texts)


# ---- content ----

CONTENTS = [
    # text, names, patterns
    ("a.com", ["a.com"], []),
    ("a.com\nb.com\n", ["a.com", "b.com"], []),
    ("a.com,b.com", ["a.com", "b.com"], []),  # a StringList
    (" a.com ,\tb.com\r\n\r\n,, c.com", ["a.com", "b.com", "c.com"], []),
    ("# all of it\na.com # why, oh why\n#b.com,c.com\n", ["a.com"], []),
    ("A.com.\na.COM", ["a.com"], []),
    ("*.a.com, web-?.b.com\nweb-+.c.com? # no", [], ["*.a.com", "web-?.b.com", "web-?.c.com?"]),
    ("web-++.b.com\nweb-+.c.com,*+.d.com", [], ["web-??.b.com", "web-?.c.com", "*?.d.com"]),  # as annotations have it
    ("\ufeffa.com", ["a.com"], []),
    ("", [], []),
    ("# nothing", [], []),
]


@pytest.mark.parametrize(("text", "names", "patterns"), CONTENTS)
def test_a_list_is_read(text: str, names: list[str], patterns: list[str]) -> None:
    """Names and patterns, between commas and ends of lines, with comments."""
    content = parse_list(text, is_secret=False)

    assert [str(each) for each in content.names] == names
    assert [str(each) for each in content.patterns] == patterns
    assert not content.bad


def test_a_bad_entry_is_told_with_its_line() -> None:
    """Its neighbours stand; nothing in a list refers to another."""
    content = parse_list("a.com\n\nhttps://b.com/x, c.com # here\n@ssm/other\nd", is_secret=False)

    assert [str(each) for each in content.names] == ["a.com", "c.com"]
    assert [(each.line, each.message) for each in content.bad] == [
        (3, "'https://b.com/x' is a URL"),
        (4, "'@ssm/other' refers to a list"),
        (5, "'d' is a single label"),
    ]


def test_only_so_many_faults_are_told() -> None:
    """A list of nothing but rubbish is not a log full of it."""
    content = parse_list("x\n" * 1000, is_secret=False)

    assert len(content.bad) == FAULTS_TOLD + 1
    assert content.bad[-1].message == f"{1000 - FAULTS_TOLD} more entries behind this are no names"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.com\n" * 20000, f"it is longer than {OCTETS_MAX} octets"),
        ("# " + "ü" * (OCTETS_MAX // 2), f"it is longer than {OCTETS_MAX} octets"),
        (' \n{"user": "jo", "password": "hunter2.example.com"}', "it is a JSON object"),
        ("{", "it is a JSON object"),
    ],
)
def test_what_is_no_list_is_refused_whole(text: str, message: str) -> None:
    """Whoever reads it keeps what he had."""
    with pytest.raises(InvalidList) as caught:
        parse_list(text, is_secret=True)

    assert caught.value.message == message


def test_a_list_may_be_as_long_as_a_secret() -> None:
    """65,536 octets and no more."""
    text = "a.com\n".ljust(OCTETS_MAX)

    assert parse_list(text, is_secret=True).names
    with pytest.raises(InvalidList):
        parse_list(text + " ", is_secret=True)


# ---- what a list grants ----


def inventory(*lists: NameList, description: str = "discriminat:tls:@ssm/apps/acme/allow,own.com") -> Inventory:
    rule = EgressRule("tcp", 443, 443, "0.0.0.0/0", description)
    return Inventory((SecurityGroup("sg-1", "web", (rule,)),), (), (), lists)


def listing(text: str, reference: Reference = REFERENCE, *, trouble: str = "") -> NameList:
    return NameList(reference, parse_list(text, is_secret=reference.store is Store.SECRET), trouble)


def entries(policy: Policy) -> list[str]:
    return [str(each) for names in policy.rules.values() for each in names]


def reasons(policy: Policy) -> list[str]:
    return [each.fault.message for each in policy.rejections]


NUCLEAR = Guard(Exposure.NUCLEAR)
NONE = Guard(Exposure.NONE)


def test_a_list_adds_its_names_to_the_rule() -> None:
    """They come and go as if they stood in the annotation."""
    old = compile_policy(inventory(listing("a.com\n*.b.com")), NUCLEAR)
    new = compile_policy(inventory(listing("a.com\nc.com")), NUCLEAR)

    assert entries(old) == ["a.com", "own.com", "*.b.com"]
    assert [(each.cat, each.outcome, each.fqdn) for each in diff_policy(old, new)] == [
        ("wildcard", "removed", "*.b.com"),
        ("fqdn", "accepted", "c.com"),
    ]


def test_an_annotation_may_hold_nothing_but_a_list() -> None:
    """It grants what the list does."""
    policy = compile_policy(inventory(listing("a.com"), description="discriminat:tls:@ssm/apps/acme/allow"))

    assert entries(policy) == ["a.com"]
    assert not policy.rejections


LACKING = [
    # list, message
    (None, "what the list @ssm/apps/acme/allow holds is not known here"),
    (NameList(REFERENCE, None, "denied"), "the list @ssm/apps/acme/allow grants nothing: denied"),
    (listing("# none"), "the list @ssm/apps/acme/allow is empty"),
    (listing("x"), "@ssm/apps/acme/allow line 1: 'x' is a single label"),
]


@pytest.mark.parametrize(("known", "message"), LACKING)
def test_what_is_not_known_of_a_list_grants_nothing(known: NameList | None, message: str) -> None:
    """The rule is told why, and its own names stand."""
    policy = compile_policy(inventory(*([known] if known else [])))
    (rejection,) = policy.rejections

    assert entries(policy) == ["own.com"]
    assert rejection.fault.message == message
    assert rejection.fault.text[slice(*rejection.fault.span)] == "@ssm/apps/acme/allow"
    assert rejection.reference == "tcp/443 0.0.0.0/0"


def test_the_last_content_stands_while_there_is_trouble() -> None:
    """Trouble alone changes nothing in the policy."""
    well, ill = (inventory(listing("a.com", trouble=trouble)) for trouble in ("", "throttled"))

    assert compile_policy(well) == compile_policy(ill)


def test_a_pattern_of_a_list_is_judged() -> None:
    """As one of an annotation: by the preference, and not for SSH; only so many are told."""
    policy = compile_policy(inventory(listing("a.com\n*.b.com")), NONE)
    ssh = compile_policy(inventory(listing("*.b.com"), description="discriminat:ssh:@ssm/apps/acme/allow"), NUCLEAR)
    many = compile_policy(inventory(listing("\n".join(f"*.b{i}.com" for i in range(100)))), NONE)

    assert entries(policy) == ["a.com", "own.com"]
    assert reasons(policy) == ["@ssm/apps/acme/allow line 2: *.b.com has a wildcard, and the preferences allow none"]
    assert [each.pattern for each in policy.rejections] == ["*.b.com"]
    assert not ssh.rules
    assert reasons(ssh) == ["@ssm/apps/acme/allow line 1: '*.b.com' is a pattern, which ssh cannot have"]
    assert len(many.rejections) == FAULTS_TOLD + 1


@pytest.mark.parametrize("kind", ["tls", "ssh"])
@pytest.mark.parametrize("guard", [NONE, NUCLEAR])
def test_what_a_secret_holds_is_not_repeated(kind: str, guard: Guard) -> None:
    """It may be the wrong secret: neither a fault nor a representation has any of it."""
    known = listing("good.example.com\npassw0rd!\nhunter*.tw0.sw0rdfish\n", SECRET)
    policy = compile_policy(inventory(known, description=f"discriminat:{kind}:@secret/apps/acme/allow"), guard)
    told = repr((known, policy.rejections, [each.fault.render() for each in policy.rejections]))

    assert "good.example.com" in entries(policy)
    assert "@secret/apps/acme/allow line 2: an entry is no name" in reasons(policy)
    assert not [word for word in ("good", "passw0rd", "hunter", "fish") if word in told]


def test_lists_of_a_later_part_replace_those_of_before() -> None:
    """As its groups do."""
    other = listing("c.com", SECRET)
    whole = inventory(listing("a.com"), other).with_part(inventory(listing("b.com")))

    assert entries(compile_policy(whole)) == ["b.com", "own.com"]
    assert whole.names_elsewhere[SECRET] is other


def test_a_list_is_judged_once_however_often_it_is_referred_to() -> None:
    description = "discriminat:tls:@ssm/apps/acme/allow,own.com"
    (annotation,) = parse_description(description).annotations
    assert isinstance(annotation, Allow)
    judge = Judge({REFERENCE: listing("a.com\n*.b.com")}, NONE)
    first, second = (judge.gain(annotation, description, set()) for _ in range(2))
    ((one, _),) = first.refused
    ((other, _),) = second.refused
    assert first == second
    assert one.message is other.message


def test_a_list_counts_for_each_protocol_of_a_description() -> None:
    both = (
        "discriminat:tls:@ssm/apps/acme/allow discriminat:ssh:@ssm/apps/acme/allow discriminat:tls:@ssm/apps/acme/allow"
    )
    policy = compile_policy(inventory(listing("a.com"), description=both))
    assert sorted(rule.protocol for rule in policy.rules) == ["ssh", "tls"]


def test_the_faults_of_a_list_are_told_once_of_one_description() -> None:
    twice = "discriminat:tls:@ssm/apps/acme/allow discriminat:tls:@ssm/apps/acme/allow"
    assert len(compile_policy(inventory(listing("a_b!"), description=twice)).rejections) == 1
