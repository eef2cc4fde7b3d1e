"""A description: what it grants is what a slow and simple reader finds, and every fault has a place and a remedy."""

import re
from datetime import UTC, date, datetime

from appliance.lint import lint
from appliance.policy.annotation import Allow, Protocol, SeeThru, parse_description
from appliance.policy.fqdn import Fqdn
from appliance.policy.inventory import EgressRule, Inventory, SecurityGroup
from appliance.report import render_report

MAX = 400
WORDS = (
    *(b"discriminat:tls:", b"discriminat:ssh:", b"discriminat:see-thru:", b"discrimnat=tls:", b"discriminat"),
    *(
        b"api.example.com",
        b"xn--bcher-kva.example",
        b"10.0.0.1",
        b"*.example.com",
        b"@ssm/a/B",
        b"@secret/",
        b"2027-01-31",
        b"https://",
        b", ",
    ),
)
LINES = 4  # of a fault as it is shown: message, text, tildes, hint

_NAME = re.compile(rb"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")
_NUMBER = re.compile(rb"[0-9]+|0x[0-9a-f]*")


def check(octets: bytes) -> str:
    text = octets.decode("utf-8", "surrogateescape")
    description = parse_description(text)
    granted = [
        (each.protocol, each.names) if isinstance(each, Allow) else each.until
        for each in description.annotations
        if isinstance(each, SeeThru) or each.names
    ]
    assert granted == _granted(octets), f"{granted} is granted, {_granted(octets)} is written"
    for fault in description.faults:
        start, end = fault.span
        assert 0 <= start < end <= len(text)
        assert fault.message
        assert fault.hint
        assert len(fault.render().splitlines()) == LINES
    for annotation in description.annotations:
        written = text[slice(*annotation.span)]
        for again in (written, _built(annotation)):
            assert list(map(_placeless, parse_description(again).annotations)) == [_placeless(annotation)]
        assert not parse_description(_built(annotation)).faults
    rule = EgressRule("tcp", 443, 443, "0.0.0.0/0", text)
    report = lint(
        Inventory((SecurityGroup("sg-1", "web", (rule,)),), ()), datetime.now(UTC).date(), with_interfaces=False
    )
    assert render_report(report)
    faults = "_and_faults" if description.faults else ""
    return f"grants{faults}" if description.annotations else f"nothing{faults}"


def _placeless(annotation: Allow | SeeThru) -> object:
    if isinstance(annotation, SeeThru):
        return annotation
    entries = (*annotation.patterns, *annotation.references)
    return annotation.protocol, annotation.names, [each for each, _ in entries]


def _granted(octets: bytes) -> list[tuple[str, tuple[Fqdn, ...]] | date]:
    """What is plainly written; all octets beyond ASCII are letters of no name."""
    granted: list[tuple[str, tuple[Fqdn, ...]] | date] = []
    for word in octets.translate(bytes.maketrans(b"\t\n\v\f\r", b"     ")).split(b" "):
        head, _, body = word.lower().partition(b":")
        kind, colon, rest = body.partition(b":")
        if head != b"discriminat" or not colon:
            continue
        if kind == b"see-thru" and re.fullmatch(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}", rest):
            try:
                granted.append(date.fromisoformat(rest.decode()))
            except ValueError:
                continue
        elif kind in {b"tls", b"ssh"}:
            names = dict.fromkeys(filter(None, map(_labels, rest.split(b","))))
            if names:
                granted.append((kind.decode(), tuple(map(Fqdn, names))))
    return granted


def _labels(name: bytes) -> tuple[str, ...]:
    """Return the labels of a name, none if it is not one."""
    name = name.removesuffix(b".")
    labels = name.split(b".")
    is_name = all(len(label) <= 63 and _NAME.fullmatch(label) for label in labels)
    if len(labels) < 2 or len(name) > 253 or not is_name or _NUMBER.fullmatch(labels[-1]):
        return ()
    return tuple(label.decode() for label in labels)


def _built(annotation: Allow | SeeThru) -> str:
    if isinstance(annotation, SeeThru):
        return f"DISCRIMINAT:see-thru:{annotation.until.isoformat()}"
    assert annotation.protocol in Protocol
    entries = [str(each).upper() for each in (*annotation.names, *(pattern for pattern, _ in annotation.patterns))]
    entries += [str(reference) for reference, _ in annotation.references]
    return f"DISCRIMINAT:{annotation.protocol}:{','.join(entries)}"
