"""Reading lists of names: Parameter Store and Secrets Manager in memory, and clients that answer what they are told."""

import logging
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError
from botocore.parsers import ResponseParserError
from botocore.stub import Stubber

from appliance.edge.name_lists import BUDGET, GONE, NAMELESS, NOT_ASKED, PUT_OFF, NameListReader, connect
from appliance.policy.inventory import EgressRule, Inventory, SecurityGroup
from appliance.policy.listed import list_changes
from appliance.policy.location import Service, parse_aliases
from appliance.policy.name_list import NameList

REGION = "eu-west-1"
ACCOUNT = "123456789012"
PASSWORD = "hunter2!correct-horse"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def groups(*references: str) -> list[SecurityGroup]:
    rules = (EgressRule("tcp", 443, 443, "0.0.0.0/0", f"discriminat:tls:{each}") for each in references)
    return [SecurityGroup("sg-1", "web", (*rules, EgressRule("tcp", 22, 22, "0.0.0.0/0", "mail jo@example.com")))]


def names(found: NameList) -> list[str]:
    return [] if found.content is None else [str(each) for each in found.content.names]


def reader(clock: Callable[[], float], *arns: str, **options: Any) -> NameListReader:
    return NameListReader(REGION, parse_aliases(arns), interval=60, clock=clock, **options)


@pytest.fixture
def clock() -> Clock:
    return Clock()


# ---- AWS in memory ----


@pytest.fixture
def ssm(aws_in_memory: None) -> Any:
    return boto3.client("ssm", region_name=REGION)


@pytest.fixture
def secrets(aws_in_memory: None) -> Any:
    return boto3.client("secretsmanager", region_name=REGION)


def test_lists_are_read_by_their_very_names(ssm: Any, secrets: Any, clock: Clock) -> None:
    """Of all kinds, in their own case, with ARNs of other Regions."""
    ssm.put_parameter(Name="/apps/Acme/allow", Value="a.com\nb.com", Type="String")
    ssm.put_parameter(Name="flat", Value="c.com,d.com", Type="StringList")
    secrets.create_secret(Name="apps/acme", SecretString="e.com")
    far = boto3.client("ssm", region_name="us-east-1")
    far.put_parameter(Name="/central", Value="f.com", Type="String")
    arn = boto3.client("secretsmanager", region_name="us-east-1").create_secret(Name="far", SecretString="g.com")["ARN"]
    references = ("@ssm/apps/Acme/allow", "@ssm/flat", "@secret/apps/acme", "@list/central", "@list/far")
    found = reader(clock, f"central=arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/central", f"far={arn}").follow(
        groups(*references, "@ssm/apps/acme/allow", "@list/other")
    )

    assert {str(each.reference): (names(each), each.trouble) for each in found} == {
        "@ssm/apps/Acme/allow": (["a.com", "b.com"], ""),
        "@ssm/flat": (["c.com", "d.com"], ""),
        "@secret/apps/acme": (["e.com"], ""),
        "@list/central": (["f.com"], ""),
        "@list/far": (["g.com"], ""),
        "@ssm/apps/acme/allow": ([], GONE),
        "@list/other": ([], NAMELESS),
    }


def test_an_edit_counts_once_the_list_is_old(ssm: Any, clock: Clock) -> None:
    """Not before; and what nothing refers to any more is forgotten."""
    subject = reader(clock)
    for value, wait, expected in (("a.com", 0, "a.com"), ("b.com", 59, "a.com"), ("b.com", 1, "b.com")):
        ssm.put_parameter(Name="x", Value=value, Type="String", Overwrite=True)
        clock.now += wait
        (found,) = subject.follow(groups("@ssm/x"))
        assert names(found) == [expected]
        assert subject.of(groups("@ssm/x")) == (found,)

    assert subject.report() == [{"list": "@ssm/x", "age_seconds": 0.0, "entries": 1, "trouble": ""}]
    assert subject.follow(groups()) == ()
    assert subject.report() == []


def test_a_list_that_is_deleted_is_gone(ssm: Any, secrets: Any, clock: Clock) -> None:
    """So is a secret that is only marked for deletion."""
    ssm.put_parameter(Name="x", Value="a.com", Type="String")
    secrets.create_secret(Name="y", SecretString="b.com")
    subject, both = reader(clock), groups("@ssm/x", "@secret/y")
    assert [names(each) for each in subject.follow(both)] == [["b.com"], ["a.com"]]
    ssm.delete_parameter(Name="x")
    secrets.delete_secret(SecretId="y")
    clock.now += 60

    assert [(each.content, each.trouble) for each in subject.follow(both)] == [(None, GONE)] * 2


def test_the_last_content_stands_when_it_is_no_list_any_more(ssm: Any, secrets: Any, clock: Clock) -> None:
    """Encrypted, key/value pairs, binary: each is told with what to do, and never with what it holds."""
    ssm.put_parameter(Name="x", Value="a.com", Type="String")
    for name in ("json", "octets"):
        secrets.create_secret(Name=name, SecretString="a.com")
    subject, every = reader(clock), groups("@ssm/x", "@secret/json", "@secret/octets")
    before = subject.follow(every)
    ssm.delete_parameter(Name="x")
    ssm.put_parameter(Name="x", Value=PASSWORD, Type="SecureString")
    secrets.put_secret_value(SecretId="json", SecretString=f'{{"password": "{PASSWORD}"}}')
    secrets.put_secret_value(SecretId="octets", SecretBinary=PASSWORD.encode())
    clock.now += 60
    after = subject.follow(every)

    assert [names(each) for each in before] == [names(each) for each in after] == [["a.com"]] * 3
    assert {str(each.reference): each.trouble.partition(";")[0] for each in after} == {
        "@ssm/x": "it is a SecureString",
        "@secret/json": "it is a JSON object",
        "@secret/octets": "it holds no text",
    }
    assert PASSWORD not in repr(after) + repr(subject.report())


def test_trouble_is_told_with_each_rule_that_refers_to_the_list(ssm: Any, clock: Clock) -> None:
    """Once, and again when it is over; not while the list is simply unknown."""
    ssm.put_parameter(Name="x", Value="a.com", Type="String")
    subject, both = reader(clock), groups("@ssm/x", "@ssm/x,b.com", "b.com")
    readings = [Inventory(tuple(both), (), (), subject.follow(both))]
    for kind in ("SecureString", "String"):
        ssm.delete_parameter(Name="x")
        ssm.put_parameter(Name="x", Value="a.com", Type=kind)
        clock.now += 60
        readings.append(Inventory(tuple(both), (), (), subject.follow(both)))
    well, ill, again = readings

    failed, recovered = list(list_changes(well, ill)), list(list_changes(ill, again))
    assert [each.outcome for each in failed] == ["failed"] * 2
    assert failed[0].reason.startswith("the list @ssm/x cannot be read, its last names stand: it is a SecureString")
    assert [(each.outcome, each.gid, each.rule) for each in recovered] == [
        ("recovered", "sg-1", "tcp/443 0.0.0.0/0")
    ] * 2
    assert not [*list_changes(ill, ill), *list_changes(Inventory((), ()), well)]


# ---- clients that answer what they are told ----


class Scripted:
    """A service with a clock: each request takes `takes` seconds, and raises or returns what is next."""

    def __init__(self, clock: Clock, *answers: object, takes: float = 0.0) -> None:
        self.clock, self.answers, self.takes = clock, list(answers), takes
        self.asked: list[dict[str, Any]] = []

    def get_parameter(self, **arguments: Any) -> Any:
        self.asked.append(arguments)
        self.clock.now += self.takes
        answer = self.answers.pop(0) if self.answers else {"Parameter": {"Type": "String", "Value": "a.com"}}
        if isinstance(answer, Exception):
            raise answer
        return answer

    get_secret_value = get_parameter

    def connect(self, service: Service, region: str) -> Any:
        assert service in Service
        assert region == REGION
        return self


def timeout() -> Exception:
    return ConnectTimeoutError(endpoint_url="https://ssm.eu-west-1.amazonaws.com/")


def test_a_service_that_does_not_answer_is_left_alone(clock: Clock) -> None:
    """What is known stands; it is asked again, for all of them, once lists are old."""
    service = Scripted(clock, timeout())
    subject, three = reader(clock, connect=service.connect), groups("@ssm/a", "@ssm/b", "@ssm/c")
    found = subject.follow(three)

    assert "Systems Manager cannot be reached" in found[0].trouble
    assert [each.trouble for each in found[1:]] == [NOT_ASKED] * 2
    clock.now += 59
    assert subject.follow(three) == found
    assert subject.of(groups("@ssm/d"))[0].trouble == NOT_ASKED
    assert len(service.asked) == 1
    clock.now += 1
    assert [(names(each), each.trouble) for each in subject.follow(three)] == [(["a.com"], "")] * 3
    assert len(service.asked) == 4


def test_a_list_that_was_throttled_is_asked_for_at_the_next_reading(clock: Clock) -> None:
    """It is AWS's word for: later."""
    refusal = ClientError({"Error": {"Code": "ThrottlingException", "Message": "no"}}, "GetParameter")
    service = Scripted(clock, refusal)
    subject = reader(clock, connect=service.connect)

    assert "throttled" in subject.follow(groups("@ssm/a"))[0].trouble
    assert subject.follow(groups("@ssm/a"))[0].trouble == ""


def test_lists_do_not_hold_up_the_policy(clock: Clock) -> None:
    """No request begins after the budget; what was put off comes first the next time, oldest first."""
    service = Scripted(clock, takes=BUDGET / 2)
    subject, four = reader(clock, connect=service.connect), groups("@ssm/a", "@ssm/b", "@ssm/c", "@ssm/d")
    began = clock.now
    found = subject.follow(four)

    assert clock.now - began == BUDGET
    assert [each.trouble for each in found] == ["", "", PUT_OFF, PUT_OFF]
    subject.follow(four)
    assert [each["Name"] for each in service.asked] == ["a", "b", "c", "d"]
    clock.now += 55
    subject.follow(four)
    assert [each["Name"] for each in service.asked[4:]] == ["a", "b"]
    assert [each.trouble for each in subject.follow(four)] == [""] * 4


def test_a_client_that_waits_does_not_wait_for_many_lists(clock: Clock) -> None:
    """A shorter budget, and nothing that was asked for before."""
    service = Scripted(clock, takes=1.0)
    subject = reader(clock, connect=service.connect)
    found = subject.of(groups("@ssm/a", "@ssm/b", "@ssm/c"))

    assert [each.trouble for each in found] == ["", "", PUT_OFF]
    assert subject.of(groups("@ssm/a", "@ssm/c")) == (found[0], found[2])
    assert len(service.asked) == 2


REFUSALS = [
    # reference, code, message, trouble
    ("@ssm/x", "AccessDeniedException", "no", "the role may not read it; give it in `lists` of the Terraform module"),
    ("@secret/x", "AccessDeniedException", "no", "the role may not read it; give it in `lists` of the Terraform"),
    ("@secret/x", "AccessDeniedException", "Access to KMS is not allowed", "give it in `lists.kms_keys`"),
    ("@ssm/x", "ThrottlingException", "no", "throttled by AWS"),
    ("@secret/x", "DecryptionFailure", "no", "DecryptionFailure: no"),
    ("@secret/x", "InvalidRequestException", "no", "InvalidRequestException: no"),
]


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize(("reference", "code", "message", "trouble"), REFUSALS)
def test_a_refusal_is_named_and_the_content_stands(
    clock: Clock, reference: str, code: str, message: str, trouble: str
) -> None:
    """Nothing but the one value is asked for: no decryption, no version."""
    service = Service.SECRETS if reference.startswith("@secret") else Service.SSM
    client = connect(service, REGION)
    operation, argument, answer = (
        ("get_secret_value", "SecretId", {"SecretString": "a.com"})
        if service is Service.SECRETS
        else ("get_parameter", "Name", {"Parameter": {"Type": "String", "Value": "a.com"}})
    )
    subject = reader(clock, connect=lambda *_: client)
    with Stubber(client) as stub:
        stub.add_response(operation, answer, {argument: "x"})
        stub.add_client_error(operation, code, message, expected_params={argument: "x"})
        subject.follow(groups(reference))
        clock.now += 60
        (found,) = subject.follow(groups(reference))
        stub.assert_no_pending_responses()

    assert names(found) == ["a.com"]
    assert trouble in found.trouble
    assert subject.report()[0]["age_seconds"] == 60.0


BROKEN = [
    ResponseParserError(f"Unable to parse response: b'{PASSWORD}'"),
    {"SecretString": None, "Name": PASSWORD},
    {"SecretString": {PASSWORD: 1}},
    {"SecretString": "{" + PASSWORD},
    {"SecretString": PASSWORD * 10000},
    {"SecretString": f"{PASSWORD}\n*{PASSWORD}"},
    ValueError(PASSWORD),
    [PASSWORD],
]


@pytest.mark.parametrize("answer", BROKEN)
def test_nothing_of_a_secret_is_told_however_it_comes(
    clock: Clock, caplog: pytest.LogCaptureFixture, answer: object
) -> None:
    """Not in the trouble, not in a log, not in a representation."""
    subject = reader(clock, connect=Scripted(clock, answer).connect)
    with caplog.at_level(logging.DEBUG):
        (found,) = subject.follow(groups("@secret/x"))

    assert found.trouble or (found.content and found.content.bad)
    assert PASSWORD not in caplog.text + repr(found) + repr(subject.report())


def test_a_client_that_cannot_be_made_is_trouble(clock: Clock) -> None:
    """Such as of a Region that there is not."""

    def refuse(service: Service, region: str) -> Any:
        raise ValueError(service, region)

    (found,) = reader(clock, connect=refuse).follow(groups("@ssm/x"))

    assert found.trouble == "it could not be asked for, or the answer cannot be read"
