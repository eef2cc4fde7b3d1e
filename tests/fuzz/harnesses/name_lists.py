"""A list of names: it holds what a slow and simple reader finds, and nothing of a secret is in what is said of it."""

import re

from appliance.errors import InvalidList, InvalidName
from appliance.policy.annotation import Allow, parse_description
from appliance.policy.exposure import Exposure, Guard
from appliance.policy.fqdn import Fqdn
from appliance.policy.name_list import FAULTS_TOLD, OCTETS_MAX, Judge, NameList, parse_list
from appliance.policy.pattern import Pattern
from appliance.policy.reference import Reference, Store

MAX = 2048
WORDS = (
    *(b"api.example.com", b"*.example.com", b"web-?.example.com", b"10.0.0.1", b"https://", b"@ssm/a", b"{"),
    *(b"\n", b"\r\n", b",", b"# ", b"\t", b"\xef\xbb\xbf", b"xn--bcher-kva.example"),
)

SECRET = Reference(Store.SECRET, "s")
PLAIN = Reference(Store.PARAMETER, "p")


def check(octets: bytes) -> str:
    text = octets.decode("utf-8", "surrogateescape")
    try:
        contents = [parse_list(text, is_secret=reference is SECRET) for reference in (SECRET, PLAIN)]
    except InvalidList:
        assert len(octets) > OCTETS_MAX or octets.translate(None, b" \t\r\n\xef\xbb\xbf").startswith(b"{")
        return "refused"
    secret, plain = contents
    names, patterns, rubbish = _read(octets)
    for content in contents:
        assert set(content.names) == names, f"{set(content.names)} is listed, {names} is written"
        assert set(content.patterns) == patterns
        assert bool(content.bad) == bool(rubbish)
        assert len(content.bad) <= FAULTS_TOLD + 1
        assert all(1 <= each.line <= octets.count(b"\n") + 1 and each.message and each.hint for each in content.bad)
    assert [each.line for each in secret.bad] == [each.line for each in plain.bad]

    told = [repr(NameList(SECRET, secret))]
    for kind in ("tls", "ssh"):
        description = f"discriminat:{kind}:{SECRET},{PLAIN}"
        (allow,) = parse_description(description).annotations
        assert isinstance(allow, Allow)
        for exposure in Exposure:
            for known in (NameList(SECRET, secret), NameList(PLAIN, plain)):
                found = Judge({known.reference: known}, Guard(exposure)).gain(allow, description, set())
                assert found.names == names
                assert found.patterns <= patterns
                assert all(fault.render() for fault, _ in found.refused)
                told += [repr(found.refused)] if known.reference is SECRET else []
    fixed = " ".join(told)
    template = parse_list("x,*.y.z\n" * (octets.count(b"\n") + 1), is_secret=True)
    allowed = repr(NameList(SECRET, template))
    for word in rubbish:
        shown = word.decode("utf-8", "surrogateescape")
        assert len(shown) < 8 or shown not in fixed or shown in allowed or shown in _OURS, "a secret is repeated"
    return f"{'names' if names or patterns else 'nothing'}{'_and_faults' if rubbish else ''}"


def _read(octets: bytes) -> tuple[set[Fqdn], set[Pattern], list[bytes]]:
    """Return names, patterns, and what is neither."""
    names: set[Fqdn] = set()
    patterns: set[Pattern] = set()
    rubbish = []
    for line in octets.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        for entry in re.split(rb",", re.sub(rb"#.*", b"", line, flags=re.DOTALL)):
            word = re.fullmatch(rb"[ \t\r]*(.*?)[ \t\r]*", entry, re.DOTALL)
            assert word
            if not word[1]:
                continue
            text = word[1].decode("utf-8", "surrogateescape")
            try:
                if b"*" in word[1] or b"?" in word[1]:
                    patterns.add(Pattern.parse(text))
                else:
                    names.add(Fqdn.parse(text))
            except InvalidName:
                rubbish.append(word[1])
    return names, patterns, rubbish


# What is said of a secret, in words of ours, among which a fuzzer may come upon one.
_OURS = (
    "an entry is no name; what a secret holds is not repeated here; more entries behind this are no names; mend these "
    "first; there is a pattern, which ssh cannot have; SSH carries no name to compare with it: list each host that is "
    "needed; a pattern is not allowed; the preference wildcard_exposure is what refuses it; discriminat"
)
