"""What the module takes as preferences is what the appliance takes, and what it refuses would be refused there."""

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.policy.preferences import DEFAULTS, Preferences, parse_preferences
from tests.terraform.tables import blocks
from tests.terraform.terraform import Terraform

Values = dict[str, Any]

TAKEN: list[Values] = [
    {},
    {"flow_log_verbosity": "only_disallowed", "see_thru": "2028-02-29", "ech": "allow", "syn_gate": "on"},
    {"flow_log_verbosity": "none", "wildcard_exposure": "none", "x509_crls": "allow"},
    {"see_thru": None, "grace": None, "policy_poll_interval": None, "preferences_interval": None},
    {"wildcard_exposure": "prohibit_asterisk", "clients": ["100.64.0.0/16", "54.0.0.0/8", "10.1.2.3/32"]},
    {"wildcard_exposure": "nuclear", "grace": 0, "policy_poll_interval": 1, "preferences_interval": 600},
    {"grace": 604800, "policy_poll_interval": 599.5},
    {"private_destinations": ["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "172.31.255.255/32"]},
]

# Refused by both: one thing wrong in each.
REFUSED: list[Values] = [
    {"flow_log_verbosity": "FULL"},
    {"flow_log_verbosity": ""},
    {"see_thru": "2027-02-29"},
    {"see_thru": "2027-2-1"},
    {"see_thru": "0000-01-01"},
    {"see_thru": "2027-01-31T00:00:00Z"},
    {"see_thru": ""},
    {"ech": "true"},
    {"syn_gate": "true"},
    {"wildcard_exposure": "prohibit_public_suffixes"},
    {"x509_crls": "deny"},
    {"clients": ["10.0.0.0/7"]},
    {"clients": ["0.0.0.0/0"]},
    {"clients": ["10.0.0.0"]},
    {"clients": ["10.0.0.0/08"]},
    {"clients": ["010.0.0.0/8"]},
    {"clients": ["10.0.0.0/33"]},
    {"clients": ["fd00::/16"]},
    {"private_destinations": ["169.254.0.0/16"]},
    {"private_destinations": ["172.32.0.0/16"]},
    {"private_destinations": ["100.128.0.0/16"]},
    {"private_destinations": ["100.64.0.0/9"]},
    {"private_destinations": ["192.168.0.0/15"]},
    {"private_destinations": ["203.0.113.0/24"]},
    {"grace": -1},
    {"grace": 604801},
    {"policy_poll_interval": 0.5},
    {"preferences_interval": 601},
]

# Refused at plan alone: Terraform can ask for more, as somebody is there to correct it.
STRICTER: list[Values] = [{"clients": ["10.9.0.5/16"]}, {"private_destinations": ["10.9.0.5/16"]}]


@pytest.fixture(scope="module")
def variable(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """The module's variable alone, and the text that the module makes of it."""
    folder: Path = tmp_path_factory.mktemp("preferences")
    output = 'output "text" {\n  value = jsonencode({ "%default" = var.preferences })\n}\n'
    (folder / "main.tf").write_text(f'variable "preferences" {{\n{blocks("variable")["preferences"]}\n}}\n\n{output}')
    alone = Terraform(folder)
    alone.init()
    return alone


def read(text: str) -> tuple[Preferences, list[str]]:
    """Return what the appliance makes of a text."""
    preferences, problems = parse_preferences(text, DEFAULTS)
    return preferences, [problem.change.reason for problem in problems]


@pytest.mark.parametrize("values", TAKEN, ids=json.dumps)
def test_what_the_plan_takes_is_taken_without_a_word(variable: Terraform, values: Values) -> None:
    """And means what was written."""
    text = variable.planned(preferences=values)["planned_values"]["outputs"]["text"]["value"]

    assert read(text) == read(json.dumps({"%default": values}))
    assert read(text)[1] == []


@pytest.mark.parametrize("values", REFUSED, ids=json.dumps)
def test_what_would_be_refused_is_refused_at_plan(variable: Terraform, values: Values) -> None:
    """The one key that is wrong is the one that both name."""
    plan = variable.plan(check=False, preferences=values)

    assert not plan.ok
    assert f"preferences.{next(iter(values))}" in plan.complaint
    assert len(read(json.dumps({"%default": values}))[1]) == 1


@pytest.mark.parametrize("values", STRICTER, ids=json.dumps)
def test_what_the_plan_alone_refuses(variable: Terraform, values: Values) -> None:
    """An address inside a network stands for the network, where nobody can be asked."""
    assert not variable.plan(check=False, preferences=values).ok
    assert read(json.dumps({"%default": values}))[1] == []


def test_every_key_is_there(variable: Terraform) -> None:
    """The module has the keys of the appliance, each with the same default."""
    text = variable.planned(preferences={})["planned_values"]["outputs"]["text"]["value"]

    assert set(json.loads(text)["%default"]) == set(Preferences.__slots__)
    assert read(text)[0] == DEFAULTS
