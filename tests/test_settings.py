"""Settings: where they come from, and what is refused with which words."""

import dataclasses

import pytest

from appliance.errors import SettingsError
from appliance.settings import Settings, describe_settings, parse_settings


def refusal(text: str, environment: dict[str, str]) -> tuple[str, str]:
    """Return the message and the hint with which these settings are refused."""
    with pytest.raises(SettingsError) as caught:
        parse_settings(text, environment)
    return caught.value.message, caught.value.hint


def test_nothing_given_is_safe() -> None:
    """Without a file and variables of ours, every setting has its default; other variables are nobody's business."""
    assert parse_settings("", {"PATH": "/bin", "discriminat_aws_region": "x"}) == Settings()


def test_the_description_is_a_file_of_the_defaults() -> None:
    """What the help prints can be saved as the settings file, and names every setting."""
    text = describe_settings()

    assert parse_settings(text, {}) == Settings()
    assert text.count(" # ") == len(dataclasses.fields(Settings))


TAKEN = [
    # settings file                        variables                                              field, value
    ('[aws]\nregion = "eu-west-1"', {}, "aws_region", "eu-west-1"),
    ("[policy]\npoll_interval = 30", {}, "policy_poll_interval", 30.0),  # a whole number is a number
    ("[policy]\npoll_interval = 0.2", {}, "policy_poll_interval", 0.2),  # the least there is
    ('[policy]\nclients = ["10.1.0.0/16"]', {}, "policy_clients", ("10.1.0.0/16",)),
    ('[health]\nclients = ["10.9.0.0/24"]', {}, "health_clients", ("10.9.0.0/24",)),
    ("[logs]\ncloudwatch = false", {}, "logs_cloudwatch", False),
    ("", {"DISCRIMINAT_AWS_VPC_ID": "vpc-1"}, "aws_vpc_id", "vpc-1"),
    ("", {"DISCRIMINAT_ENGINE_WORKERS": "2"}, "engine_workers", 2),
    ("", {"DISCRIMINAT_NAMES_GRACE": "60"}, "names_grace", 60.0),
    ("", {"DISCRIMINAT_TLS_ECH": "True"}, "tls_ech", True),
    ("", {"DISCRIMINAT_POLICY_CLIENTS": ""}, "policy_clients", ()),  # not a list of one empty text
    ("", {"DISCRIMINAT_NAMES_NAMESERVERS": "10.0.0.2, 10.0.0.3"}, "names_nameservers", ("10.0.0.2", "10.0.0.3")),
    ("[engine]\nworkers = 1", {"DISCRIMINAT_ENGINE_WORKERS": "2"}, "engine_workers", 2),  # the environment wins
]


@pytest.mark.parametrize(("text", "environment", "field", "value"), TAKEN)
def test_setting_is_taken(text: str, environment: dict[str, str], field: str, value: object) -> None:
    """A setting comes from the file or from the environment, in its own type."""
    taken = getattr(parse_settings(text, environment), field)

    assert (type(taken), taken) == (type(value), value)


ALL = "`discriminat run --help` lists all settings"

REFUSED = [
    # file or variables                                   message, and hint
    ("[polcy]\n", {}, "unknown section [polcy]", "did you mean [policy]?"),
    ("[zzz]\n", {}, "unknown section [zzz]", ALL),
    (
        "[policy]\npoll_intervall = 9",
        {},
        "unknown setting [policy] poll_intervall",
        "did you mean [policy] poll_interval?",
    ),
    ("[aws]\npoll_interval = 9", {}, "unknown setting [aws] poll_interval", "did you mean [policy] poll_interval?"),
    ("[aws]\nzzz = 9", {}, "unknown setting [aws] zzz", ALL),
    ('region = "x"', {}, "'region' stands outside of a section", "did you mean [aws] region?"),
    (
        "policy = 1",
        {},
        "'policy' stands outside of a section",
        "write [policy] on a line of its own, and its settings below it",
    ),
    (
        "",
        {"DISCRIMINAT_POLICY_POLL": "9"},
        "unknown setting DISCRIMINAT_POLICY_POLL",
        "did you mean DISCRIMINAT_POLICY_POLL_INTERVAL?",
    ),
    ("", {"DISCRIMINAT_ZZZ": "9"}, "unknown setting DISCRIMINAT_ZZZ", ALL),
    (
        "",
        {"DISCRIMINAT_tls_ech": "true"},
        "unknown setting DISCRIMINAT_tls_ech",
        "did you mean DISCRIMINAT_TLS_ECH?",
    ),
    ("[tls]\nech = 1", {}, "[tls] ech must be true or false, not 1", ""),
    ("[engine]\nworkers = true", {}, "[engine] workers must be a whole number, not True", ""),
    ("[engine]\nworkers = 1.5", {}, "[engine] workers must be a whole number, not 1.5", ""),
    ("[names]\ngrace = true", {}, "[names] grace must be a number, not True", ""),
    ("[names]\nnameservers = [1]", {}, "[names] nameservers must be a list of texts, not [1]", ""),
    ('[names]\nnameservers = "10.0.0.2"', {}, "[names] nameservers must be a list of texts, not '10.0.0.2'", ""),
    ("[aws]\nregion = 1", {}, "[aws] region must be a text, not 1", ""),
    ("", {"DISCRIMINAT_TLS_ECH": "yes"}, "DISCRIMINAT_TLS_ECH must be true or false, not 'yes'", ""),
    ("", {"DISCRIMINAT_HEALTH_PORT": ""}, "DISCRIMINAT_HEALTH_PORT must be a whole number, not ''", ""),
    ("", {"DISCRIMINAT_NAMES_GRACE": "1h"}, "DISCRIMINAT_NAMES_GRACE must be a number, not '1h'", ""),
    ("[policy]\npoll_interval = 0.1", {}, "[policy] poll_interval is 0.1", "it must be 0.2 to 3600"),
    ("[policy]\npoll_interval = nan", {}, "[policy] poll_interval is nan", "it must be 0.2 to 3600"),
    ("[names]\ngrace = inf", {}, "[names] grace is inf", "it must be 0 to 604800"),
    ("[logs]\nmax_octets = 1", {}, "[logs] max_octets is 1", "it must be 4096 or more"),
    ("", {"DISCRIMINAT_HEALTH_PORT": "65536"}, "DISCRIMINAT_HEALTH_PORT is 65536", "it must be 1 to 65535"),
    ("[names]\nnameservers = []", {}, "[names] nameservers is empty", "name the resolver that the clients use"),
    (
        '[names]\nnameservers = ["dns.example.com"]',
        {},
        "[names] nameservers: 'dns.example.com' is not an IPv4 address",
        "write four numbers of 0 to 255, as in 10.0.1.10",
    ),
    (
        "",
        {"DISCRIMINAT_POLICY_CLIENTS": "10.0.0.0"},
        "DISCRIMINAT_POLICY_CLIENTS: '10.0.0.0' is not an IPv4 network",
        "write an address and a prefix length, as in 10.0.0.0/16",
    ),
]


@pytest.mark.parametrize(("text", "environment", "message", "hint"), REFUSED)
def test_setting_is_refused(text: str, environment: dict[str, str], message: str, hint: str) -> None:
    """What is unknown, mistyped or out of range is refused under the name it was given by, with the way out."""
    assert refusal(text, environment) == (message, hint)


def test_what_is_not_toml_is_refused_with_its_place() -> None:
    """A slip in the file is shown by line and column."""
    message, _ = refusal("[policy]\npoll_interval = ", {})

    assert message.startswith("the settings are not TOML: ")
    assert "line 2" in message or "end of document" in message


def test_a_value_is_checked_even_where_the_environment_overrides_it() -> None:
    """A wrong file does not hide behind a variable, to surface once that is gone."""
    message, _ = refusal("[engine]\nworkers = 99", {"DISCRIMINAT_ENGINE_WORKERS": "2"})

    assert message == "[engine] workers is 99"


MARK = "# Settings of discriminat; written by Terraform\n"

IN_FILE = '[aws]\nregion = "file"'
LAYERS = [
    # user data, variables, and where the region comes from
    (f'{MARK}[aws]\nregion = "user-data"', {}, "user-data"),
    (f'{MARK}[aws]\ndeployment = "egress"', {}, "file"),
    (f'{MARK}[aws]\nregion = "user-data"', {"DISCRIMINAT_AWS_REGION": "variable"}, "variable"),
    ("#cloud-config\npackages: [nginx]", {}, "file"),
    ("#!/bin/sh\nregion = 1", {}, "file"),
    ("", {}, "file"),
]


@pytest.mark.parametrize(("user_data", "environment", "region"), LAYERS)
def test_layers(user_data: str, environment: dict[str, str], region: str) -> None:
    """The file is below the user data that is ours, and both are below the environment."""
    assert parse_settings(IN_FILE, environment, user_data).aws_region == region


def test_user_data_of_ours_must_be_understood() -> None:
    """What somebody asked for and cannot be read is refused, not ignored."""
    with pytest.raises(SettingsError) as caught:
        parse_settings("", {}, f"{MARK}[aws]\nregoin = 1")
    assert caught.value.hint == "did you mean [aws] region?"

    with pytest.raises(SettingsError) as caught:
        parse_settings("", {}, f"{MARK}[aws")
    assert caught.value.message.startswith("the user data are not TOML")
