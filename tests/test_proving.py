"""The proof of the data plane: real processes, with stubs in the place of the self-test."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance import proving
from appliance.edge.netfilter import NetfilterConfig
from appliance.proving import Proof

pytestmark = pytest.mark.subprocesses

CONFIG = NetfilterConfig(clients=(), queues=1, nft_queue=True)
PASSED = {"failure": "", "hint": "", "nft_queue": True, "isn_reversed": False, "summary": "fine", "seconds": 0.5}

Stub = Callable[[str], None]


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stub:
    """Replaces the program by shell lines, told their arguments and how often they ran before."""
    program = tmp_path / "program"

    def replace(lines: str) -> None:
        program.write_text(f'#!/bin/sh\nn=$(wc -l < {tmp_path}/runs)\necho "$@" >> {tmp_path}/runs\n{lines}\n')
        program.chmod(0o755)

    (tmp_path / "runs").touch()
    monkeypatch.setattr(proving.sys, "executable", str(program))
    monkeypatch.setattr(proving, "RETRY_FIRST", 0.01)
    return replace


@pytest.fixture
def told() -> Iterator[list[tuple[str, str, str]]]:
    """Config events."""
    return []


def found(**changes: object) -> str:
    return f"echo '{json.dumps(PASSED | changes)}'"


def seek(proof: Proof, config: NetfilterConfig = CONFIG) -> None:
    asyncio.run(asyncio.wait_for(proof.seek(config), 20))


def test_a_pass_is_told_once(stub: Stub, told: list[tuple[str, str, str]], tmp_path: Path) -> None:
    """The self-test is a verb of this program, in a process of its own."""
    stub(found())
    proof = Proof(lambda *event: told.append(event))
    assert proof.state == "running"

    seek(proof)

    assert told == [("appliance", "tested", "the self-test of the data plane has passed: fine")]
    assert proof.state == "passed"
    assert (tmp_path / "runs").read_text() == "-m appliance selftest --json\n"
    assert asyncio.run(proof.wait()) < 1


FAILURES = [
    (found(failure="no way", hint="go there"), "no way (go there)"),
    (found(failure="no way"), "no way"),
    (found(nft_queue=False), "it passed another way than the ruleset in force goes: fine"),
    (found(isn_reversed=True), "it passed another way than the ruleset in force goes: fine"),
    ("exit 3", "it ended with code 3 and without findings"),
    ("echo nonsense; kill -9 $$", "it ended with code -9 and without findings"),
    ("exec sleep 60", "it did not finish within 1 s"),
]


@pytest.mark.parametrize(("lines", "failure"), FAILURES)
def test_a_failure_is_told_and_the_test_repeated(
    stub: Stub, told: list[tuple[str, str, str]], monkeypatch: pytest.MonkeyPatch, lines: str, failure: str
) -> None:
    """Twice the same is told once; in the end it passes."""
    monkeypatch.setattr(proving, "PATIENCE", 1.0)
    states = []
    stub(f"if [ $n -lt 2 ]; then {lines}; else {found()}; fi")
    proof = Proof(lambda *event: (told.append(event), states.append(proof.state)))

    seek(proof)

    reason = f"the self-test of the data plane, so all stays closed: {failure}"
    assert told[0] == ("error", "failed", reason)
    assert [event[:2] for event in told[1:]] == [("appliance", "tested")]
    assert states == [f"failed: {failure}", "passed"]


def test_a_program_that_cannot_be_started(told: list[tuple[str, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is proved, and the appliance goes on trying."""
    monkeypatch.setattr(proving.sys, "executable", "/nowhere/python")
    failed = asyncio.run(proving._attempt(CONFIG))

    assert failed == ("it could not be started: No such file or directory", "")


def wait_for(path: Path) -> None:
    """Return once a file has a line."""
    while not path.exists() or "\n" not in path.read_text():
        time.sleep(0.01)


def test_the_end_of_the_appliance_is_the_end_of_the_test(stub: Stub, tmp_path: Path) -> None:
    """A self-test that hangs holds up nothing, and is not left behind."""
    stub(f"echo $$ > {tmp_path}/pid; exec sleep 60")

    async def stop() -> None:
        seeking = asyncio.create_task(Proof(lambda *_: None).seek(CONFIG))
        async with asyncio.timeout(20):
            await asyncio.to_thread(wait_for, tmp_path / "pid")
        seeking.cancel()
        await asyncio.wait({seeking})

    asyncio.run(stop())

    pid = (tmp_path / "pid").read_text().strip()
    assert not Path(f"/proc/{pid}").exists()
