"""A raw disk becomes an EBS snapshot, without an instance: blocks are put straight into it.

    disk = survey(path)
    snapshot = Uploader(region, say).upload(disk, tags, "what it is", journal)

Blocks of zeroes are left out. EBS compares each block with its SHA-256, and the whole with the checksum of all of them
when it completes the snapshot: a broken one is deleted and never returned. The same disk with the same tags is the same
snapshot, however often it is uploaded; an upload that was interrupted goes on where it stopped.

Source: EBS direct APIs, user guide ("Write snapshots", "Checksums", "Idempotency in StartSnapshot") and reference.
"""

import base64
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any, Final

from image.cloud import Interrupted, RefusedError, Region
from image.errors import ImageError
from image.journal import Journal

BLOCK: Final = 512 * 1024  # octets, EBS's own
GIB: Final = 1024**3  # octets
WORKERS: Final = 12  # eight fill a fast line; more help where each request takes long
KEPT: Final = 24 * 60  # minutes without a block after which EBS cancels a snapshot: how long an upload can be resumed
UNKNOWN_FOR: Final = timedelta(minutes=15)  # ours: a snapshot that EBS does not know is new for so long, and then gone
PROGRESS: Final = 2.0  # seconds between two reports
IDENTITY: Final = "discriminat:sha256"  # the tag that says whose content it is
STARTS: Final = 10  # snapshots that may have gone wrong before this one
LOOKS: Final = 3  # good answers in a row: the next one may come from a server that has not heard yet
NEW: Final = {
    "ResourceNotFoundException": 14,
    "ValidationException": 4,
}  # see Region.ask; the latter also on a line fault
ZEROES: Final = bytes(BLOCK)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Disk:
    """A raw disk as EBS sees it.

    Attributes:
        sha256: of the file, in hexadecimal.
        blocks: SHA-256 of each block that is not all zeroes, by its index, in order.
    """

    path: Path
    octets: int
    sha256: str
    blocks: Mapping[int, bytes]

    @property
    def gib(self) -> int:
        """Size of the volume it fits on, in GiB."""
        return -(-self.octets // GIB)

    @property
    def checksum(self) -> str:
        """The linear checksum: SHA-256 of the blocks' own, one after the other; Base64."""
        return _base64(hashlib.sha256(b"".join(self.blocks.values())).digest())

    def read(self, index: int) -> bytes:
        """Return a block, filled up with zeroes at the end of the disk.

        Raises:
            ImageError: it is no longer what was surveyed.
        """
        with self.path.open("rb") as file:
            data = os.pread(file.fileno(), BLOCK, index * BLOCK).ljust(BLOCK, b"\0")
        if hashlib.sha256(data).digest() != self.blocks[index]:
            raise ImageError(
                f"{self.path} has changed while it was uploaded: let nothing write to it, and run it again"
            )
        return data


def survey(path: Path) -> Disk:
    """Read a disk once, from its beginning to its end."""
    whole, blocks, octets = hashlib.sha256(), {}, 0
    with path.open("rb") as file:
        for index, data in enumerate(iter(lambda: file.read(BLOCK), b"")):
            whole.update(data)
            octets += len(data)
            if data != ZEROES[: len(data)]:
                blocks[index] = hashlib.sha256(data.ljust(BLOCK, b"\0")).digest()
    return Disk(path, octets, whole.hexdigest(), blocks)


class Uploader:
    """Puts disks into snapshots of one region."""

    def __init__(self, region: Region, say: Say, workers: int = WORKERS) -> None:
        self._region = region
        self._say = say
        self._workers = workers

    def upload(self, disk: Disk, tags: Mapping[str, str], description: str, journal: Journal) -> str:
        """Return the id of the complete snapshot that holds the disk.

        Args:
            tags: of the snapshot, beside IDENTITY, by which it is found when there is one already.

        Raises:
            ImageError: EBS refuses; the text says what is left, and how to go on or to remove it.
            Interrupted: by Ctrl-C, likewise.
        """
        if found := self.find(disk):
            journal.forget()
            return found
        snapshot, state = self._resume(journal) or self._start(disk, tags, description, journal)
        if state != "completed":
            self._fill(snapshot, disk, journal)
            self._complete(snapshot, disk, journal)
        self._await(snapshot, journal)
        journal.forget()
        return snapshot

    def find(self, disk: Disk) -> str:
        """Return the complete snapshot of a disk, or an empty text."""
        filters = [{"Name": f"tag:{IDENTITY}", "Values": [disk.sha256]}, {"Name": "status", "Values": ["completed"]}]
        found = self._region.ask("ec2", "describe_snapshots", OwnerIds=["self"], Filters=filters)["Snapshots"]
        return min((str(each["SnapshotId"]) for each in found), default="")

    def _state(self, snapshot: str) -> str:
        """Return what EC2 says of a snapshot: pending, completed, error; an empty text when it knows none."""
        try:
            found = self._region.ask("ec2", "describe_snapshots", SnapshotIds=[snapshot])["Snapshots"]
        except RefusedError as fault:
            if fault.code == "InvalidSnapshot.NotFound":
                return ""
            raise
        return str(found[0]["State"]) if found else ""

    # ---- begin ----

    def _resume(self, journal: Journal) -> tuple[str, str] | None:
        """Return the journal's snapshot and its state, if it can still be filled or is complete."""
        snapshot = journal.snapshot
        state = self._state(snapshot) if snapshot else ""
        unknown = snapshot and not state and not journal.blocks  # begun a moment ago, if it is there at all
        if unknown or state in {"pending", "completed"}:
            self._say(f"{self._region.name}: going on with {snapshot}, which holds {len(journal.blocks)} blocks")
            return snapshot, state
        if snapshot:
            if state:
                self._discard(snapshot)
            journal.begin("", journal.attempt + 1)
        return None

    def _start(self, disk: Disk, tags: Mapping[str, str], description: str, journal: Journal) -> tuple[str, str]:
        """Start a snapshot, or return the one that an earlier call has started for the same disk."""
        wanted: dict[str, Any] = {
            "VolumeSize": disk.gib,
            "Description": description,
            "Tags": [{"Key": key, "Value": value} for key, value in sorted({**tags, IDENTITY: disk.sha256}.items())],
            "Timeout": KEPT,
        }
        for attempt in range(journal.attempt, journal.attempt + STARTS):
            identity = json.dumps([wanted, disk.checksum, attempt], sort_keys=True)
            token = hashlib.sha256(identity.encode()).hexdigest()
            begun = self._region.ask("ebs", "start_snapshot", ClientToken=token, **wanted)
            snapshot = str(begun["SnapshotId"])
            if begun["BlockSize"] != BLOCK:
                raise ImageError(f"EBS wants blocks of {begun['BlockSize']} octets, which this program does not know")
            state = self._state(snapshot)
            new = not state and datetime.now(UTC) - begun["StartTime"] < UNKNOWN_FOR
            if new or state in {"pending", "completed"}:
                journal.begin(snapshot, attempt)
                return snapshot, state
            if state:
                self._discard(snapshot)
        raise ImageError(
            f"{self._region.name}: {STARTS} snapshots of this image have failed: see what EC2 says of them"
        )

    # ---- fill ----

    def _fill(self, snapshot: str, disk: Disk, journal: Journal) -> None:
        """Put every block that the journal does not have."""
        have = {index for index, digest in journal.blocks.items() if digest == disk.blocks.get(index, b"").hex()}
        missing = [index for index in disk.blocks if index not in have]
        stop = Event()
        patience = replace(self._region.patience, stop=stop)

        def put(index: int) -> None:
            if stop.is_set():
                return
            self._region.ask(
                "ebs",
                "put_snapshot_block",
                passing=NEW,
                patience=patience,
                SnapshotId=snapshot,
                BlockIndex=index,
                BlockData=disk.read(index),
                DataLength=BLOCK,
                Checksum=_base64(disk.blocks[index]),
                ChecksumAlgorithm="SHA256",
            )
            journal.note(index, disk.blocks[index].hex())

        try:
            with ThreadPoolExecutor(self._workers, thread_name_prefix="put") as pool:
                try:
                    report = self._reporter(snapshot, len(have), len(disk.blocks))
                    for future in as_completed([pool.submit(put, index) for index in missing]):
                        future.result()
                        report()
                except BaseException:
                    stop.set()
                    pool.shutdown(cancel_futures=True)
                    raise
        except KeyboardInterrupt:
            raise Interrupted(self._left(snapshot, disk, journal, "interrupted")) from None
        except RefusedError as fault:
            if fault.code == "ResourceNotFoundException":
                journal.begin("", journal.attempt + 1)
                raise ImageError(
                    f"{fault}. Run the command again to begin with another snapshot; to remove this one, should it"
                    f" turn up: {self._removal(snapshot)}"
                ) from None
            raise ImageError(self._left(snapshot, disk, journal, str(fault))) from None
        except ImageError as fault:
            raise ImageError(self._left(snapshot, disk, journal, str(fault))) from None
        finally:
            journal.close()

    def _reporter(self, snapshot: str, done: int, total: int) -> Callable[[], None]:
        """Return what is to be called after each block."""
        at = time.monotonic()

        def report() -> None:
            nonlocal done, at
            done += 1
            if done == total or time.monotonic() - at >= PROGRESS:
                at = time.monotonic()
                self._say(f"{self._region.name}: {snapshot} holds {done} of {total} blocks")

        return report

    # ---- complete ----

    def _complete(self, snapshot: str, disk: Disk, journal: Journal) -> None:
        """Seal the snapshot, if EBS has what we have."""
        try:
            self._region.ask(
                "ebs",
                "complete_snapshot",
                passing={"ResourceNotFoundException": NEW["ResourceNotFoundException"]},
                SnapshotId=snapshot,
                ChangedBlocksCount=len(disk.blocks),
                Checksum=disk.checksum,
                ChecksumAlgorithm="SHA256",
                ChecksumAggregationMethod="LINEAR",
            )
        except RefusedError as fault:
            if self._state(snapshot) == "completed":  # the answer to an earlier attempt was lost
                return
            if fault.code == "ValidationException":
                raise self._broken(snapshot, journal, str(fault)) from None
            raise ImageError(self._left(snapshot, disk, journal, str(fault))) from None

    def _await(self, snapshot: str, journal: Journal) -> None:
        """Return when the snapshot is complete in the eyes of EC2, several times in a row."""
        seen = 0
        for _ in range(self._region.patience.looks):
            state = self._state(snapshot)
            if state == "error":
                raise self._broken(snapshot, journal, f"{self._region.name}: EBS could not complete {snapshot}")
            seen = seen + 1 if state == "completed" else 0
            if seen == LOOKS:
                return
            self._region.patience.before_look()
        raise ImageError(
            f"{self._region.name}: {snapshot} is not complete yet: run the command again, it goes on from here"
        )

    # ---- what is left ----

    def _broken(self, snapshot: str, journal: Journal, why: str) -> ImageError:
        """Delete a snapshot that is not what it should be, and return what to tell."""
        journal.begin("", journal.attempt + 1)
        removal = self._discard(snapshot)
        left = f"it could not be deleted, so run: {removal}" if removal else "it is deleted"
        return ImageError(f"{why}: {snapshot} is not what was uploaded; {left}. Then run the command again")

    def _discard(self, snapshot: str) -> str:
        """Delete a snapshot; return the command that does it, if AWS would not."""
        try:
            self._region.ask("ec2", "delete_snapshot", SnapshotId=snapshot)
        except ImageError:
            return self._removal(snapshot)
        self._say(f"{self._region.name}: deleted {snapshot}, which had failed")
        return ""

    def _left(self, snapshot: str, disk: Disk, journal: Journal, why: str) -> str:
        return (
            f"{why}. {snapshot} holds {len(journal.blocks)} of {len(disk.blocks)} blocks: the same command goes on from"
            f" there within a day. To give up: {self._removal(snapshot)}"
        )

    def _removal(self, snapshot: str) -> str:
        return f"aws ec2 delete-snapshot --region {self._region.name} --snapshot-id {snapshot}"


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
