"""A file of Security Groups and interfaces: it is reported on and explained, or refused, and nothing else."""

import atexit
import json
import tempfile
from pathlib import Path

from appliance import sources
from appliance.account import explanation_document, render_explanation
from appliance.errors import InputError
from appliance.question import Question
from appliance.report import render_report, report_document
from appliance.settings import Settings

MAX = 4096
WORDS = (
    *(f'"{key}": ["'.encode() for key in ("SecurityGroups", "NetworkInterfaces", "IpPermissionsEgress", "IpRanges")),
    *(f'"{key}": "'.encode() for key in ("GroupId", "GroupName", "CidrIp", "Description", "IpProtocol", "VpcId")),
    *(
        b'"FromPort": 443',
        b'"ToPort": 443',
        b'"0.0.0.0/0"',
        b'"discriminat:tls:a.example.com"',
        b'"tcp"',
        b'"10.0.1.10"',
    ),
    *(b'"PrivateIpAddress": "', b'"Ipv4Prefix": "10.0.2.0/28"', b'"Groups": [', b"null", b"1e9", b'"\\ud800"'),
)
QUESTION = Question.parse(client="10.0.1.10", port="443", protocol="tls", name="a.example.com", address=None)

_folder = tempfile.TemporaryDirectory()
atexit.register(_folder.cleanup)
_FILE = Path(_folder.name) / "groups.json"


def check(octets: bytes) -> str:
    """The file holds the interfaces too, if it has any: both readers look for their own list."""
    _FILE.write_bytes(octets)
    words = []
    try:
        report = sources.check(sources.Source(security_groups=_FILE))
        assert report.rejected + report.warnings == len(report.findings)
        assert render_report(report)
        assert json.loads(json.dumps(report_document(report)))
        words.append("report")
    except InputError as fault:
        _check_refusal(fault)
    try:
        source = sources.Source(security_groups=_FILE, network_interfaces=_FILE)
        explanation = sources.answer(source, QUESTION, resolve=False, read_settings=lambda _: Settings())
        assert render_explanation(explanation)
        assert json.loads(json.dumps(explanation_document(explanation)))
        words.append("explanation")
    except InputError as fault:
        _check_refusal(fault)
    return "_and_".join(words) or "unusable"


def _check_refusal(fault: InputError) -> None:
    assert fault.message.startswith(str(_FILE))
    assert fault.hint
