"""Every setting of `discriminat run`: type, unit, default, range, and what it is for.

Settings come from one TOML file, from the user data of the EC2 instance, which wins over the file, and
from the environment, which wins over both: `poll_interval` of section `[policy]` is also
`DISCRIMINAT_POLICY_POLL_INTERVAL`, where a list is written with commas. An unknown key is refused, an
absent one is safe. Everything here is pure: the caller reads the file and hands over the rest.
"""

import dataclasses
import difflib
import json
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from appliance.address import Network, parse_ipv4
from appliance.errors import InvalidAddress, InvalidReference, SettingsError
from appliance.policy.location import parse_aliases

ENVIRONMENT_PREFIX = "DISCRIMINAT_"
USER_DATA_MARK = "# Settings of discriminat"  # user data without it is somebody else's, such as cloud-init's

Value = TypeVar("Value", str, int, float, bool, tuple[str, ...])


def _setting(default: Value, help_text: str, *, least: float = -math.inf, most: float = math.inf) -> Value:
    """Return the field of a setting; `least` and `most` are themselves allowed."""
    return dataclasses.field(default=default, metadata={"help": help_text, "least": least, "most": most})


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings: key `a_b` of section `[s]` is the field `s_a_b`. The default's type is the setting's."""

    aws_region: str = _setting("", "AWS region; empty: the one IMDS names")
    aws_vpc_id: str = _setting("", "VPC whose interfaces are clients; empty: the one IMDS names")
    aws_user_data: bool = _setting(default=True, help_text="take settings from user data that is marked as ours")
    aws_deployment: str = _setting("discriminat", "name of the deployment, in its metrics")
    aws_auto_scaling_group: str = _setting("", "Auto Scaling group of this instance; empty: none")
    aws_launch_hook: str = _setting("", "its launch lifecycle hook, completed once flows are filtered; empty: none")
    aws_replace_after: float = _setting(
        600.0, "seconds unwell until the group replaces it; 0: never", least=0, most=86400
    )
    policy_poll_interval: float = _setting(10.0, "seconds between two readings of AWS", least=0.2, most=3600)
    policy_clients: tuple[str, ...] = _setting((), "networks as good as the VPC's own; only its interfaces are clients")
    preferences_parameter: str = _setting("", "SSM parameter with the preferences of the deployment; empty: none")
    preferences_interval: float = _setting(60.0, "seconds between two readings of it", least=0.2, most=3600)
    lists_arns: tuple[str, ...] = _setting(
        (), "NAME=ARN of each list of names elsewhere, which annotations call @list/NAME"
    )
    lists_interval: float = _setting(60.0, "seconds between two readings of a list of names", least=1, most=3600)
    names_nameservers: tuple[str, ...] = _setting(("169.254.169.253",), "resolvers to ask: those the clients use")
    names_port: int = _setting(53, "port of the resolvers", least=1, most=65535)
    names_grace: float = _setting(3600.0, "seconds an address is believed beyond its TTL", least=0, most=604800)
    names_rate: float = _setting(200.0, "background look-ups per second", least=1, most=1000)
    tls_ech: bool = _setting(
        default=False, help_text="let hellos pass whose real name is encrypted; preferences overrule it"
    )
    engine_workers: int = _setting(0, "worker processes, one queue each; 0: one per processor", least=0, most=16)
    engine_first_queue: int = _setting(0, "number of the first NFQUEUE", least=0, most=65000)
    engine_hello_wait: float = _setting(10.0, "seconds for a client to finish its hello", least=0.1, most=600)
    engine_reply_wait: float = _setting(60.0, "seconds for a server to finish its reply", least=0.1, most=600)
    engine_look_up_wait: float = _setting(5.0, "seconds a hello is held for DNS or AWS", least=0.1, most=60)
    engine_client_rate: int = _setting(2000, "new flows per second of one client", least=1, most=1_000_000)
    engine_idle_wait: float = _setting(60.0, "seconds without a hello until a flow is forgotten", least=1, most=280)
    engine_client_idle: int = _setting(4096, "flows without a hello that one client may have open", least=1)
    engine_end_flows: bool = _setting(default=True, help_text="end open flows that are not allowed any more")
    logs_directory: str = _setting("/var/log/discriminat", "where flow.jsonl and config.jsonl are written")
    logs_max_octets: int = _setting(64 * 1024 * 1024, "octets of one log file before it is rotated", least=4096)
    logs_backups: int = _setting(4, "rotated files kept of each log", least=0, most=100)
    logs_cloudwatch: bool = _setting(default=True, help_text="ship the logs to CloudWatch Logs")
    logs_group: str = _setting("discrimiNAT", "CloudWatch log group; Terraform owns it")
    logs_metrics_interval: float = _setting(60.0, "seconds between two lines of metrics; 0: none", least=0, most=60)
    logs_spool: str = _setting("/var/lib/discriminat/spool", "where logs wait while CloudWatch is away")
    logs_spool_octets: int = _setting(256 * 1024 * 1024, "octets of the spool; the oldest go first", least=65536)
    health_port: int = _setting(1042, "TCP port of GET /healthz", least=1, most=65535)
    health_clients: tuple[str, ...] = _setting((), "networks that may ask, beside the clients', as CIDR blocks")


_FIELDS = {field.name: field for field in dataclasses.fields(Settings)}
_SECTIONS = tuple(dict.fromkeys(name.partition("_")[0] for name in _FIELDS))
_WANTED = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", tuple: "a list of texts"}


def parse_settings(text: str, environment: Mapping[str, str], user_data: str = "") -> Settings:
    """Return the settings.

    Args:
        text: the TOML file's content; may be empty.
        environment: variables; those without our prefix are ignored.
        user_data: of the instance: settings as in the file if it begins with USER_DATA_MARK, else ignored.

    Raises:
        SettingsError: not TOML, or a key that is unknown, mistyped or out of range.
    """
    values = _from_text("the settings", text)
    if user_data.startswith(USER_DATA_MARK):
        values |= _from_text("the user data", user_data)
    construct: Callable[..., Settings] = Settings  # each value has been checked against its field's type
    return construct(**{**values, **_from_environment(environment)})


def describe_settings() -> str:
    """Return all settings as a TOML file of their defaults, each with its purpose and range behind it."""
    lines = []
    for section in _SECTIONS:
        lines.append(f"[{section}]")
        for name, field in _FIELDS.items():
            if name.startswith(f"{section}_"):
                assignment = f"{name.partition('_')[2]} = {json.dumps(field.default)}"
                limits = _limits(field)
                lines.append(f"{assignment:<40} # {field.metadata['help']}{f' ({limits})' if limits else ''}")
        lines.append("")
    return "\n".join(lines)


# Where values come from


def _from_text(what: str, text: str) -> dict[str, object]:
    try:
        return _from_document(tomllib.loads(text))
    except tomllib.TOMLDecodeError as fault:
        raise SettingsError(f"{what} are not TOML: {fault}") from None


def _from_document(document: Mapping[str, object]) -> dict[str, object]:
    """Return the values of a TOML document, by field."""
    values: dict[str, object] = {}
    for section, keys in document.items():
        if not isinstance(keys, dict):
            below = f"write [{section}] on a line of its own, and its settings below it"
            hint = below if section in _SECTIONS else _hint(section, _FIELDS, _in_file)
            raise SettingsError(f"{section!r} stands outside of a section", hint=hint)
        if section not in _SECTIONS:
            raise SettingsError(f"unknown section [{section}]", hint=_hint(section, _SECTIONS, "[{}]".format))
        for key, value in keys.items():
            name, what = f"{section}_{key}", f"[{section}] {key}"
            if name not in _FIELDS:
                raise SettingsError(f"unknown setting {what}", hint=_hint(name, _FIELDS, _in_file))
            values[name] = _check(what, name, value)
    return values


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    """Return the values of our variables, by field."""
    values: dict[str, object] = {}
    for variable, text in environment.items():
        if variable.startswith(ENVIRONMENT_PREFIX):
            name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
            if name not in _FIELDS or variable != _in_environment(name):
                raise SettingsError(f"unknown setting {variable}", hint=_hint(name, _FIELDS, _in_environment))
            values[name] = _check(variable, name, _read(variable, type(_FIELDS[name].default), text))
    return values


def _in_file(name: str) -> str:
    return "[{}] {}".format(*name.split("_", 1))


def _in_environment(name: str) -> str:
    return f"{ENVIRONMENT_PREFIX}{name.upper()}"


def _hint(given: str, known: Iterable[str], write: Callable[[str], str]) -> str:
    """Say what somebody may have meant: the same key elsewhere, or a name that looks like it."""
    known = list(known)
    key = given.removeprefix(f"{given.partition('_')[0]}_")
    near = [name for name in known if name.partition("_")[2] == key] or difflib.get_close_matches(given, known, 1)
    return f"did you mean {write(near[0])}?" if near else "`discriminat run --help` lists all settings"


# Types and ranges


def _read(what: str, kind: type, text: str) -> object:
    """Return the value that a variable's text stands for."""
    if kind is tuple:
        return [item.strip() for item in text.split(",") if item.strip()]
    if kind is bool and text.lower() in {"true", "false"}:
        return text.lower() == "true"
    if kind is str:
        return text
    try:
        return int(text) if kind is int else float(text)
    except ValueError:
        raise _mistyped(what, kind, text) from None


def _check(what: str, name: str, value: object) -> object:
    """Return the value of a setting, if it has the right type and lies within its range."""
    field = _FIELDS[name]
    kind = type(field.default)
    if kind is tuple:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise _mistyped(what, kind, value)
        _check_list(what, name, value)
        return tuple(value)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise _mistyped(what, kind, value)
    # Not the other way round: "not a number" is neither less nor more than a limit.
    if isinstance(value, int | float) and not field.metadata["least"] <= value <= field.metadata["most"]:
        raise SettingsError(f"{what} is {value:.15g}", hint=f"it must be {_limits(field)}")
    return value


def _mistyped(what: str, kind: type, value: object) -> SettingsError:
    return SettingsError(f"{what} must be {_WANTED[kind]}, not {value!r}")


def _check_list(what: str, name: str, items: list[str]) -> None:
    try:
        if name == "lists_arns":
            parse_aliases(items)
            return
        for item in items:
            if name in {"policy_clients", "health_clients"}:
                Network.parse(item)
            else:
                parse_ipv4(item)
    except (InvalidAddress, InvalidReference) as fault:
        raise SettingsError(f"{what}: {fault.message}", hint=fault.hint) from None
    if name == "names_nameservers" and not items:
        raise SettingsError(f"{what} is empty", hint="name the resolver that the clients use")


def _limits(field: "dataclasses.Field[object]") -> str:
    """Return the range of a setting in words; empty if it has none."""
    least, most = field.metadata["least"], field.metadata["most"]
    if math.isinf(most):
        return "" if math.isinf(least) else f"{least:.15g} or more"
    return f"{least:.15g} to {most:.15g}"
