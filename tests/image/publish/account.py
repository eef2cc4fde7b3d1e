"""Account: the lab's AWS API with nothing in it, a publisher that asks it, and what may go wrong in between."""

import functools
import json
import os
import re
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import botocore.loaders
import botocore.session
from botocore.awsrequest import AWSResponse
from botocore.httpsession import URLLib3Session
from moto.ec2.models import ec2_backends
from moto.moto_api._internal.models import moto_api_backend

from image.cloud import Patience
from image.publish import Wishes
from image.publisher import Publisher
from tests.lab.emulator import Emulator

HOME, OTHER, THIRD = "eu-west-1", "eu-west-2", "us-east-1"
NUMBER = "123456789012"
CREDENTIALS = {"aws_access_key_id": "publisher", "aws_secret_access_key": "secret"}
LOADER = botocore.loaders.create_loader()
Answer = tuple[int, str]  # status and error code


@dataclass
class Call:
    """One request that was sent."""

    service: str
    operation: str
    region: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    failed: str = ""  # the error code that was put in its way


@dataclass
class Fault:
    """What goes wrong with requests of an operation."""

    service: str
    operation: str
    answer: Answer
    times: int
    region: str
    when: Callable[[Mapping[str, Any]], bool]
    lost: bool = False


class Account:
    """An AWS account, and the publisher's way to it."""

    def __init__(self, emulator: Emulator, repository: Path) -> None:
        moto_api_backend.reset()
        self.emulator = emulator
        self.repository = repository
        self.said: list[str] = []
        self.log: list[Call] = []
        self._faults: list[Fault] = []
        self._interrupt_after = 0
        self._until: Callable[[], object] = lambda: None
        self._after: dict[tuple[str, str], Callable[[Mapping[str, Any]], None]] = {}
        self._mangle: Callable[[Mapping[str, Any]], bytes | None] = lambda _: None
        self._lock = threading.Lock()
        self._arguments = threading.local()

    # ---- publishing ----

    def publish(
        self,
        *paths: Path,
        region: str = HOME,
        unchecked: bool = True,
        patience: Patience | None = None,
        **wishes: Any,
    ) -> int:
        """Run the publisher once, without ever waiting.

        Args:
            patience: another than none.
            unchecked: take it that the disk keeps its promises, as it holds no system that could.
        """
        session = _session(region)
        session.events.register("provide-client-params", self._take_arguments)
        session.events.register("before-send", self._before_send)
        return Publisher(
            session,
            Wishes(region=region, **wishes),
            say=self.said.append,
            patience=patience or Patience(attempts=4, looks=5, scale=0.0),
            **({"check": lambda path: []} if unchecked else {}),
            repository=self.repository,
        ).publish(paths)

    def calls(self, service: str = "", operation: str = "", region: str = "") -> list[Call]:
        """Return what was asked, oldest first."""
        return [
            each
            for each in self.log
            if service in ("", each.service) and operation in ("", each.operation) and region in ("", each.region)
        ]

    def changes(self) -> list[str]:
        """Return the operations that were asked and are not questions."""
        return [each.operation for each in self.log if not each.operation.startswith(("Describe", "Get", "List"))]

    # ---- what goes wrong ----

    def fail(
        self,
        service: str,
        operation: str,
        *,
        code: str = "InternalServerException",
        status: int = 400,
        times: int = 1_000_000,
        region: str = "",
        when: Callable[[Mapping[str, Any]], bool] = lambda _: True,
        lost: bool = False,
    ) -> None:
        """Answer requests with an error; `lost` ones do their work before."""
        self._faults.append(Fault(service, operation, (status, code), times, region, when, lost=lost))

    def mend(self) -> None:
        """Take every fault away again."""
        self._faults.clear()
        self._interrupt_after = 0
        self._mangle = lambda _: None

    def interrupt_after(self, blocks: int, until: Callable[[], object]) -> None:
        """Press Ctrl-C when so many blocks have been sent; those that follow wait for it to be heeded."""
        self._interrupt_after, self._until = blocks, until

    def after(self, service: str, operation: str, do: Callable[[Mapping[str, Any]], None]) -> None:
        """Do something once, between what a request does and its answer."""
        self._after[service, operation] = do

    def set_state(self, snapshot: str, state: str, region: str = HOME) -> None:
        """Have a snapshot be in a state, as EC2 tells it."""
        ec2_backends[NUMBER][region].snapshots[snapshot].status = state

    def set_image(self, region: str, **attributes: object) -> None:
        """Have the images of a region be other than they were made, as EC2 tells it."""
        for image in ec2_backends[NUMBER][region].amis.values():
            for name, value in attributes.items():
                setattr(image, name, value)

    def block(self, kind: str, region: str) -> None:
        """Have the account block public images or snapshots of a region."""
        ec2 = self.client("ec2", region)
        if kind == "image":
            ec2.enable_image_block_public_access(ImageBlockPublicAccessState="block-new-sharing")
        else:
            ec2.enable_snapshot_block_public_access(State="block-all-sharing")

    @staticmethod
    def press_ctrl_c() -> None:
        """Interrupt this process."""
        os.kill(os.getpid(), signal.SIGINT)

    def mangle(self, change: Callable[[Mapping[str, Any]], bytes | None]) -> None:
        """Have a block arrive as other octets than were sent; None leaves it."""
        self._mangle = change

    def _take_arguments(self, params: Mapping[str, Any], **_: Any) -> None:
        self._arguments.given = dict(params)

    def _before_send(self, request: Any, event_name: str, **_: Any) -> AWSResponse | None:
        _, service, operation = event_name.split(".")
        scope = re.search(rb"Credential=[^/]+/\d+/([^/]+)/", request.headers["Authorization"])
        arguments = self._arguments.given
        call = Call(service, operation, scope[1].decode(), arguments)  # type: ignore[index]
        with self._lock:
            self.log.append(call)
            fault = next((each for each in self._faults if self._hits(each, call)), None)
            if fault is not None:
                fault.times -= 1
            puts = len(self.calls("ebs", "PutSnapshotBlock"))
        if operation == "PutSnapshotBlock":
            if puts == self._interrupt_after:
                self.press_ctrl_c()
            if puts >= self._interrupt_after > 0:
                self._until()
            if (other := self._mangle(arguments)) is not None:
                request.body = other
        after = self._after.pop((service, operation), None)
        if after is not None:
            answer = URLLib3Session().send(request)
            after(arguments)
            return answer
        if fault is None:
            return None
        if fault.lost:
            URLLib3Session().send(request)
        call.failed = fault.answer[1]
        return _answer(request, service, fault.answer)

    @staticmethod
    def _hits(fault: Fault, call: Call) -> bool:
        return (
            fault.times > 0
            and (fault.service, fault.operation) == (call.service, call.operation)
            and fault.region in ("", call.region)
            and fault.when(call.arguments)
        )

    # ---- what is there ----

    def client(self, service: str, region: str = HOME) -> Any:
        """Return a client that nothing is in the way of, and that is not logged."""
        return _client(service, region, self.emulator.url)

    def images(self, region: str = HOME) -> dict[str, dict[str, Any]]:
        """Return the images of the account, by name."""
        found = self.client("ec2", region).describe_images(Owners=["self"])["Images"]
        assert len({each["Name"] for each in found}) == len(found)
        return {each["Name"]: each for each in found}

    def snapshots(self, region: str = HOME) -> dict[str, str]:
        """Return the states of the project's snapshots, by id."""
        filters = [{"Name": "tag-key", "Values": ["discriminat:sha256"]}]
        found = self.client("ec2", region).describe_snapshots(OwnerIds=["self"], Filters=filters)["Snapshots"]
        return {each["SnapshotId"]: each["State"] for each in found}

    def blocks(self, snapshot: str, region: str = HOME) -> dict[int, bytes]:
        """Read a snapshot back."""
        ebs = self.client("ebs", region)
        listed = ebs.list_snapshot_blocks(SnapshotId=snapshot)["Blocks"]
        return {
            each["BlockIndex"]: ebs.get_snapshot_block(
                SnapshotId=snapshot, BlockIndex=each["BlockIndex"], BlockToken=each["BlockToken"]
            )["BlockData"].read()
            for each in listed
        }

    def may_launch(self, image: str, region: str = HOME) -> list[dict[str, str]]:
        """Return who may launch an image."""
        asked = self.client("ec2", region).describe_image_attribute(ImageId=image, Attribute="launchPermission")
        return list(asked["LaunchPermissions"])

    def may_copy(self, snapshot: str, region: str = HOME) -> list[dict[str, str]]:
        """Return who may make volumes of a snapshot, and so copy the image."""
        asked = self.client("ec2", region).describe_snapshot_attribute(
            SnapshotId=snapshot, Attribute="createVolumePermission"
        )
        return list(asked["CreateVolumePermissions"])

    def parameters(self, region: str = HOME) -> dict[str, str]:
        """Return all parameters."""
        found = self.client("ssm", region).get_parameters_by_path(Path="/discriminat", Recursive=True)["Parameters"]
        return {each["Name"]: each["Value"] for each in found}


def _session(region: str) -> boto3.Session:
    """Return a session of its own, whose descriptions of AWS's services are those of all: reading them takes long."""
    core = botocore.session.Session()
    core.register_component("data_loader", LOADER)
    return boto3.Session(botocore_session=core, region_name=region, **CREDENTIALS)


@functools.cache
def _client(service: str, region: str, url: str) -> Any:
    return _session(region).client(service, endpoint_url=url)


class _Raw:
    """The body of an answer, as urllib3 would have it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *_: Any, **__: Any) -> list[bytes]:
        return [self._body]


def _answer(request: Any, service: str, answer: Answer) -> AWSResponse:
    status, code = answer
    text = f"{code}, as the test wants it"
    if service in {"ec2", "sts"}:
        kind, headers = "Response" if service == "ec2" else "ErrorResponse", {"Content-Type": "text/xml"}
        error = f"<Error><Code>{code}</Code><Message>{text}</Message></Error>"
        inner = f"<Errors>{error}</Errors>" if service == "ec2" else error
        body = f"<{kind}>{inner}<RequestID>test</RequestID></{kind}>"
    else:
        headers = {"Content-Type": "application/json", "x-amzn-ErrorType": code}
        body = json.dumps({"__type": code, "Message": text, "message": text})
    return AWSResponse(request.url, status, headers, _Raw(body.encode()))
