"""Every setting of `discriminat run`: type, unit, default, and what it is for.

Settings come from one TOML file and from the environment, which wins: `[policy] poll_interval` is
also `DISCRIMINAT_POLICY_POLL_INTERVAL`. An unknown key is refused, an absent one is safe. Everything
here is pure: the caller reads the file and hands over the environment.
"""

import dataclasses
import tomllib
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from appliance.address import Network, parse_ipv4
from appliance.errors import DiscriminatError, SettingsError

ENVIRONMENT_PREFIX = "DISCRIMINAT_"


def _setting(default: Any, help_text: str, *, least: float | None = None, most: float | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"help": help_text, "least": least, "most": most})


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings. `a_b` of section `s` is the field `s_a_b`."""

    aws_region: str = _setting("", "AWS region; empty: the one IMDS names")
    aws_vpc_id: str = _setting("", "VPC whose interfaces are clients; empty: the one IMDS names")
    policy_poll_interval: float = _setting(10.0, "seconds between two readings of policy from AWS", least=0.2, most=3600)
    policy_clients: tuple[str, ...] = _setting((), "client networks beside those of the VPC, as CIDR blocks")
    names_nameservers: tuple[str, ...] = _setting(("169.254.169.253",), "resolvers to ask: those the clients use")
    names_port: int = _setting(53, "port of the resolvers", least=1, most=65535)
    names_grace: float = _setting(3600.0, "seconds an address of a name is believed beyond its TTL", least=0, most=604800)
    names_rate: float = _setting(200.0, "background look-ups per second", least=1, most=1000)
    tls_ech: bool = _setting(default=False, help_text="let hellos pass whose real name is encrypted")
    engine_workers: int = _setting(0, "worker processes, one queue each; 0: one per processor", least=0, most=16)
    engine_first_queue: int = _setting(0, "number of the first NFQUEUE", least=0, most=65000)
    engine_hello_wait: float = _setting(10.0, "seconds for a client to finish its hello", least=0.1, most=600)
    engine_reply_wait: float = _setting(60.0, "seconds for a server to finish its reply", least=0.1, most=600)
    engine_look_up_wait: float = _setting(5.0, "seconds a hello is held for DNS or AWS", least=0.1, most=60)
    logs_directory: str = _setting("/var/log/discriminat", "where flow.jsonl and config.jsonl are written")
    logs_max_octets: int = _setting(64 * 1024 * 1024, "octets of one log file before it is rotated", least=4096)
    logs_backups: int = _setting(4, "rotated files kept of each log", least=0, most=100)
    logs_cloudwatch: bool = _setting(default=True, help_text="ship the logs to CloudWatch Logs")
    logs_group: str = _setting("discrimiNAT", "CloudWatch log group; Terraform owns it")
    logs_spool: str = _setting("/var/lib/discriminat/spool", "where logs wait while CloudWatch is away")
    logs_spool_octets: int = _setting(256 * 1024 * 1024, "octets of the spool; the oldest go first", least=65536)
    health_port: int = _setting(1042, "TCP port of GET /healthz", least=1, most=65535)


def parse_settings(text: str, environment: Mapping[str, str]) -> Settings:
    """Return the settings.

    Args:
        text: the TOML file's content; may be empty.
        environment: variables; those without our prefix are ignored.

    Raises:
        SettingsError: not TOML, or a key that is unknown, mistyped or out of range.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise SettingsError(f"the settings are not TOML: {fault}") from None
    types = typing.get_type_hints(Settings)
    values: dict[str, Any] = {}
    for section, keys in document.items():
        if not isinstance(keys, dict):
            raise SettingsError(f"{section!r} stands outside of a section", hint="put it under [policy], [names], ...")
        for key, value in keys.items():
            name = f"{section}_{key}"
            if name not in types:
                raise _unknown(f"[{section}] {key}", [field.replace("_", "] ", 1) for field in types], f"{section}] {key}")
            values[name] = _typed(f"[{section}] {key}", types[name], value)
    for variable, text_value in environment.items():
        if variable.startswith(ENVIRONMENT_PREFIX):
            name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
            if name not in types:
                raise _unknown(variable, [ENVIRONMENT_PREFIX + field.upper() for field in types], variable)
            values[name] = _typed(variable, types[name], _from_text(variable, types[name], text_value))
    settings = Settings(**values)
    _check(settings)
    return settings


def _unknown(what: str, known: list[str], given: str) -> SettingsError:
    near = min(known, key=lambda name: sum(a != b for a, b in zip(name, given, strict=False)) + abs(len(name) - len(given)))
    return SettingsError(f"unknown setting {what}", hint=f"did you mean {near if '] ' not in near else '[' + near}?")


def _typed(what: str, kind: Any, value: Any) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if typing.get_origin(kind) is tuple:
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise SettingsError(f"{what} must be a list of texts, not {value!r}")
    if type(value) is not kind:
        raise SettingsError(f"{what} must be {_KIND_NAMES[kind]}, not {value!r}")
    return value


_KIND_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
_FROM_TEXT: dict[Any, Callable[[str], Any]] = {int: int, float: float, str: str}


def _from_text(what: str, kind: Any, text: str) -> Any:
    if kind is bool:
        if text.lower() not in {"true", "false"}:
            raise SettingsError(f"{what} must be true or false, not {text!r}")
        return text.lower() == "true"
    if typing.get_origin(kind) is tuple:
        return tuple(item for item in text.split(",") if item)
    try:
        return _FROM_TEXT[kind](text)
    except ValueError:
        raise SettingsError(f"{what} must be {_KIND_NAMES[kind]}, not {text!r}") from None


def _check(settings: Settings) -> None:
    """Raise for the first value out of its range, or that is no address."""
    for field in dataclasses.fields(Settings):
        value, least, most = getattr(settings, field.name), field.metadata["least"], field.metadata["most"]
        if (least is not None and value < least) or (most is not None and value > most):
            raise SettingsError(f"{field.name} is {value:g}", hint=f"it must lie between {least:g} and {most or 'any':{'g' if most else ''}}")
    try:
        for block in settings.policy_clients:
            Network.parse(block)
        for address in settings.names_nameservers:
            parse_ipv4(address)
    except DiscriminatError as fault:
        raise SettingsError(fault.message, hint=fault.hint) from None
    if not settings.names_nameservers:
        raise SettingsError("names_nameservers is empty", hint="name the resolver that the clients use")


def describe_settings() -> str:
    """Return one line per setting, for the help."""
    lines = []
    for field in dataclasses.fields(Settings):
        section, _, key = field.name.partition("_")
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        lines.append(f"  [{section}] {key:<16} {field.metadata['help']} (default: {default!r})")
    return "\n".join(lines)
