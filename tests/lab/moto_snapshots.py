"""What moto does not do as the EBS direct APIs do when a snapshot is written, put right; see moto_gaps.py.

A snapshot is pending until it is completed, the same client token is the same snapshot, and what a checksum does not
match is refused. There is no clock in here: a snapshot that nobody writes to is not cancelled.

Source: EBS direct APIs reference; user guide, "Checksums", "Idempotency in StartSnapshot".
"""

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import moto.ebs.models as snapshots
from moto.core.exceptions import ServiceException
from moto.ebs.responses import EBSResponse

from tests.lab.moto_patch import wrap

BLOCK = 524288  # octets
DEFAULT_KEY = "arn:aws:kms:{region}:{account}:key/ebs-default"


def close_snapshot_gaps() -> None:
    """Patch moto; moto_gaps calls it once."""
    _start_once()
    _take_what_matches()
    _complete_what_matches()


class EbsError(ServiceException):
    """An answer of the EBS direct APIs that is an error."""

    __module__ = "moto.ebs.exceptions"  # by which moto finds the service whose error it is

    def __init__(self, code: str, message: str, reason: str = "") -> None:
        super().__init__(code, message)
        if reason:
            self.Reason = reason


def _refused(reason: str, message: str) -> EbsError:
    return EbsError("ValidationException", message, reason)


def _found(self: Any, *, writable: bool = True) -> Any:
    """Return the snapshot that a request is about."""
    snapshot = self.ebs_backend.snapshots.get(self._get_param("SnapshotId"))
    if snapshot is None or snapshot.snapshot_id not in self.ebs_backend.ec2_backend.snapshots:
        raise EbsError("ResourceNotFoundException", "The snapshot does not exist.", "SNAPSHOT_NOT_FOUND")
    if writable and snapshot.status != "pending":
        raise _refused("INVALID_SNAPSHOT_ID", "The snapshot is not in the pending state.")
    return snapshot


def _digest(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def _start_once() -> None:
    """StartSnapshot: pending, of no volume, in blocks of 512 KiB, one for each token, encrypted by default."""

    def started(original: Callable[..., Any], self: Any) -> Any:
        tokens: dict[str, tuple[str, Any]] = self.ebs_backend.__dict__.setdefault("client_tokens", {})
        token = self._get_param("ClientToken")
        names = ("VolumeSize", "Tags", "Description", "Timeout", "ParentSnapshotId", "Encrypted", "KmsKeyArn")
        request = json.dumps([self._get_param(name) for name in names], sort_keys=True)
        if token in tokens:
            if tokens[token][0] != request:
                raise EbsError("ConflictException", "The client token was used with other parameters.")
            return tokens[token][1]
        answer = original(self)
        answer.result["BlockSize"] = BLOCK
        ec2 = self.ebs_backend.ec2_backend
        snapshot = ec2.snapshots[answer.result["SnapshotId"]]
        snapshot.status = "pending"
        ec2.volumes.pop(snapshot.volume.id)  # moto's own: there was never a volume
        if self._get_param("Encrypted") or ec2.ebs_encryption_by_default:
            snapshot.encrypted = True
            answer.result["KmsKeyArn"] = DEFAULT_KEY.format(region=self.region, account=self.current_account)
        tokens[token] = (request, answer)
        return answer

    wrap(EBSResponse, "start_snapshot")(started)


def _take_what_matches() -> None:
    """PutSnapshotBlock: whole blocks of a pending snapshot, whose SHA-256 is as announced."""

    def put(original: Callable[..., Any], self: Any) -> Any:
        snapshot = _found(self)
        data = self._get_param("BlockData")
        if int(self._get_param("DataLength")) != BLOCK or len(data) != BLOCK:
            raise _refused("INVALID_BLOCK", f"A block has {BLOCK} bytes.")
        index = int(self._get_param("BlockIndex"))
        if index * BLOCK >= snapshot.volume_size * 1024**3:
            raise _refused("INVALID_BLOCK", "The block lies behind the end of the volume.")
        if self._get_param("ChecksumAlgorithm") != "SHA256" or self._get_param("Checksum") != _digest(data):
            raise _refused("INVALID_PARAMETER_VALUE", "The checksum does not match the data.")
        return original(self)

    wrap(EBSResponse, "put_snapshot_block")(put)


def _complete_what_matches() -> None:
    """CompleteSnapshot: as many blocks as were written, and, where it is given, their linear checksum."""

    def completed(original: Callable[..., Any], self: Any) -> Any:
        snapshot = _found(self)
        if int(self._get_param("ChangedBlocksCount")) != len(snapshot.blocks):
            raise _refused("INVALID_PARAMETER_VALUE", f"The snapshot has {len(snapshot.blocks)} blocks.")
        given = self._get_param("Checksum")
        digests = [hashlib.sha256(block.block_data).digest() for _, block in sorted(snapshot.blocks.items())]
        if given is not None and given != _digest(b"".join(digests)):
            raise _refused("INVALID_PARAMETER_VALUE", "The aggregated checksum does not match the blocks.")
        answer = original(self)
        self.ebs_backend.ec2_backend.snapshots[snapshot.snapshot_id].status = "completed"
        return answer

    wrap(EBSResponse, "complete_snapshot")(completed)


def copy_blocks(account: str, source: tuple[str, str], target: tuple[str, str]) -> None:
    """Give a copied snapshot the blocks of its source; each is a region and an id."""
    origin = snapshots.ebs_backends[account][source[0]].snapshots.get(source[1])
    if origin is not None:
        snapshots.ebs_backends[account][target[0]].snapshots[target[1]] = origin
