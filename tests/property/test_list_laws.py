"""Laws of lists that are kept elsewhere: what holds for every reference and every content."""

import string
from random import Random

from hypothesis import example, given
from hypothesis import strategies as st

from appliance.errors import InvalidList, InvalidReference
from appliance.policy.annotation import Allow, parse_description
from appliance.policy.exposure import Exposure, Guard
from appliance.policy.inventory import EgressRule, Inventory, SecurityGroup
from appliance.policy.location import Location, locate, parse_aliases
from appliance.policy.name_list import FAULTS_TOLD, NameList, parse_list
from appliance.policy.policy import Policy, compile_policy
from appliance.policy.reference import Reference, Store, is_meant_as_reference

LABELS = st.from_regex(r"[a-z_]([a-z0-9_-]{0,9}[a-z0-9_])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=2, max_size=4).map(".".join)
SEPARATORS = st.sampled_from([",", "\n", "\r\n", " , ", "\n\n", ",,", "\t\n", " # why, a.b\n", "\n#x.y\n"])
PATHS = st.text(string.ascii_letters + string.digits + "_.-/", min_size=1, max_size=40)
ANYTHING = st.text(max_size=300) | st.text("@/:smecrtli.a,# \n\r\t*?+{", max_size=60)
SECRET = Reference(Store.SECRET, "s")


def compiled(known: NameList, guard: Guard) -> Policy:
    rule = EgressRule("tcp", 443, 443, "0.0.0.0/0", f"discriminat:tls:{known.reference}")
    return compile_policy(Inventory((SecurityGroup("sg-1", "", (rule,)),), (), (), (known,)), guard)


@given(ANYTHING)
@example("@ssm/a:1")
@example("@ssm/a\n")
def test_a_text_is_a_reference_or_refused(text: str) -> None:
    """Whatever it refers to has a name that AWS takes for nothing else, and is spelled as it was written."""
    try:
        reference = Reference.parse(text)
    except InvalidReference:
        return
    assert is_meant_as_reference(text)
    assert Reference.parse(str(reference)) == reference
    assert set(reference.name) <= set(string.ascii_letters + string.digits + "/_+=.@-")
    if reference.store is not Store.ALIAS:
        assert text.partition("/")[2] == reference.name.removeprefix("/" if reference.store is Store.PARAMETER else "")


@given(PATHS)
def test_the_case_of_a_name_is_kept(path: str) -> None:
    """AWS tells names apart by it, whatever the case of the annotation around."""
    for head in ("@ssm/", "@SSM/", "@secret/", "@Secret/"):
        for annotation in parse_description(f"DISCRIMINAT:TLS:{head}{path}").annotations:
            assert isinstance(annotation, Allow)
            ((reference, _),) = annotation.references
            assert reference.name.endswith(path)


@given(st.text(max_size=120) | st.text("arn:aws-smp/=1234567890", max_size=90))
def test_a_text_is_an_alias_or_refused(text: str) -> None:
    """There is no third outcome."""
    try:
        aliases = parse_aliases([text])
    except InvalidReference:
        return
    (reference,) = aliases
    found = locate(reference, aliases)
    assert isinstance(found, Location)
    assert found.region


@given(ANYTHING, st.booleans())
def test_any_text_is_a_list_or_refused(text: str, is_secret: bool) -> None:
    """It never raises anything else, and does not tell more faults than it may."""
    try:
        content = parse_list(text, is_secret=is_secret)
    except InvalidList:
        return
    assert len(content.bad) <= FAULTS_TOLD + 1
    assert all(1 <= each.line <= text.count("\n") + 1 for each in content.bad)


@given(st.lists(NAMES, min_size=1, max_size=8), st.lists(SEPARATORS, min_size=8, max_size=8), st.randoms())
def test_order_and_separators_change_nothing(names: list[str], separators: list[str], random: Random) -> None:
    """The policy has one digest, however its list is written."""
    shuffled = [*names, random.choice(names).upper()]
    random.shuffle(shuffled)
    written = "".join(name + separators[at % 8] for at, name in enumerate(shuffled))
    plain, odd = (
        compiled(NameList(SECRET, parse_list(text, is_secret=True)), Guard()) for text in ("\n".join(names), written)
    )

    assert plain == odd
    assert plain.digest == odd.digest
    assert {str(each) for each in plain.names} == set(names)


@given(st.lists(NAMES, min_size=1, max_size=5), ANYTHING.filter(lambda text: "{" not in text))
def test_neighbours_of_what_is_wrong_stand(names: list[str], rubbish: str) -> None:
    """Whatever stands between good names, on lines of its own."""
    content = parse_list("".join(f"{name}\n{rubbish}\n" for name in names), is_secret=False)

    assert set(names) <= {str(each) for each in content.names}


@given(
    st.lists(st.text(string.ascii_letters + string.digits + "!$%&*?+=:/.@", min_size=1, max_size=20), max_size=6),
    st.sampled_from(Exposure),
)
def test_what_a_secret_holds_is_in_no_fault(passwords: list[str], exposure: Exposure) -> None:
    """Each password is marked with a letter that nothing else has."""
    try:
        content = parse_list("\n".join(f"{each}\u017f{each}*x" for each in passwords), is_secret=True)
    except InvalidList:
        return
    known = NameList(SECRET, content)
    policy = compiled(known, Guard(exposure))

    assert "\u017f" not in repr(known) + repr(policy.rejections)
