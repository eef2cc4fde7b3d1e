"""A disk becomes a snapshot: octet for octet, once, and through whatever passes by itself."""

from collections import Counter
from pathlib import Path
from threading import Event

import pytest

from image.cloud import Interrupted, Patience
from image.ebs import survey
from image.errors import ImageError
from image.journal import Journal
from tests.image.publish.account import HOME, Account
from tests.image.publish.disks import BLOCK, BLOCKS, Bakery, content

NAME = "discriminat-0.1.0-arm64"


def journals(disk: Path) -> list[Path]:
    return sorted(disk.parent.glob("*.upload-*"))


def put(account: Account) -> Counter[int]:
    """Return how often EBS took each block."""
    return Counter(each.arguments["BlockIndex"] for each in account.calls("ebs", "PutSnapshotBlock") if not each.failed)


def test_what_is_written_is_what_is_read(account: Account, bakery: Bakery) -> None:
    """Every block comes back as it is in the file, and those of zeroes were never sent."""
    disk = bakery.bake()

    assert account.publish(disk) == 0

    (snapshot,) = account.snapshots()
    assert account.blocks(snapshot) == content(disk)
    assert put(account) == dict.fromkeys(BLOCKS, 1)
    assert account.snapshots() == {snapshot: "completed"}
    assert journals(disk) == []


def test_each_request_is_what_ebs_wants(account: Account, bakery: Bakery) -> None:
    """Whole blocks under their SHA-256, their number, and the checksum of all."""
    disk = survey(bakery.bake())
    account.publish(disk.path)

    for each in account.calls("ebs", "PutSnapshotBlock"):
        assert (each.arguments["DataLength"], len(each.arguments["BlockData"])) == (BLOCK, BLOCK)
        assert each.arguments["ChecksumAlgorithm"] == "SHA256"
    (start,) = account.calls("ebs", "StartSnapshot")
    assert len(start.arguments["ClientToken"]) == 64
    assert start.arguments["VolumeSize"] == 1
    (complete,) = account.calls("ebs", "CompleteSnapshot")
    assert complete.arguments["ChangedBlocksCount"] == len(BLOCKS)
    assert complete.arguments["Checksum"] == disk.checksum
    assert complete.arguments["ChecksumAggregationMethod"] == "LINEAR"


PASSING = [
    # operation of EBS    error code                          status
    ("StartSnapshot", "RequestThrottledException", 400),
    ("StartSnapshot", "InternalServerException", 500),
    ("PutSnapshotBlock", "RequestThrottledException", 400),
    ("PutSnapshotBlock", "InternalServerException", 500),
    ("PutSnapshotBlock", "ServiceUnavailable", 503),
    ("PutSnapshotBlock", "SomethingNew", 502),
    ("PutSnapshotBlock", "ResourceNotFoundException", 404),  # a new snapshot that not every server knows
    ("CompleteSnapshot", "InternalServerException", 500),
]


@pytest.mark.parametrize(("operation", "code", "status"), PASSING)
def test_what_passes_is_waited_for(account: Account, bakery: Bakery, operation: str, code: str, status: int) -> None:
    """Three failures, and then it goes on; one snapshot, and no block twice."""
    disk = bakery.bake()
    account.fail("ebs", operation, code=code, status=status, times=3)

    assert account.publish(disk) == 0

    (snapshot,) = account.snapshots()
    assert account.blocks(snapshot) == content(disk)
    assert put(account) == dict.fromkeys(BLOCKS, 1)
    assert [each.failed for each in account.calls("ebs", operation) if each.failed] == [code] * 3


def test_an_answer_that_was_lost_starts_no_second_snapshot(account: Account, bakery: Bakery) -> None:
    """Start and completion are done, and asked again: the token, and the snapshot's state, tell."""
    disk = bakery.bake()
    account.fail("ebs", "StartSnapshot", status=500, times=1, lost=True)
    account.fail("ebs", "CompleteSnapshot", status=500, times=1, lost=True)

    assert account.publish(disk) == 0

    assert list(account.snapshots().values()) == ["completed"]


def test_a_block_that_arrives_changed_is_sent_again(account: Account, bakery: Bakery) -> None:
    """EBS compares the checksum and refuses; the second attempt is the block."""
    disk = bakery.bake()
    spoilt = []

    def once(arguments: dict[str, object]) -> bytes | None:
        if arguments["BlockIndex"] == 3 and not spoilt:
            spoilt.append(3)
            return b"\1" * BLOCK
        return None

    account.mangle(once)

    assert account.publish(disk) == 0

    (snapshot,) = account.snapshots()
    assert account.blocks(snapshot) == content(disk)
    assert spoilt == [3]


def test_an_interrupt_loses_nothing(account: Account, bakery: Bakery, monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl-C the same command puts the missing blocks into the same snapshot, and none twice."""
    disk = bakery.bake(blocks=tuple(range(40)))
    stop = Event()
    account.interrupt_after(15, until=lambda: stop.wait(30))

    with monkeypatch.context() as patch:
        patch.setattr("image.ebs.Event", lambda: stop)
        with pytest.raises(Interrupted) as told:
            account.publish(disk)

    (snapshot,) = account.snapshots()
    held = len(account.blocks(snapshot))
    assert f"{snapshot} holds {held} of 40 blocks: the same command goes on" in str(told.value)
    assert f"aws ec2 delete-snapshot --region {HOME} --snapshot-id {snapshot}" in str(told.value)
    assert account.images() == {}
    assert 15 <= held < 40

    account.mend()
    assert account.publish(disk) == 0

    assert account.snapshots() == {snapshot: "completed"}
    assert put(account) == dict.fromkeys(range(40), 1)
    assert account.blocks(snapshot) == content(disk)
    assert len(account.calls("ebs", "StartSnapshot")) == 1
    assert journals(disk) == []


def test_a_block_that_fails_for_good_stops_and_can_go_on(account: Account, bakery: Bakery) -> None:
    """What EBS refuses ends the run with what to do; once it does not, the rest is put."""
    disk = bakery.bake()
    account.fail("ebs", "PutSnapshotBlock", code="AccessDeniedException", when=lambda given: given["BlockIndex"] == 9)

    with pytest.raises(ImageError, match="AWS denies PutSnapshotBlock") as told:
        account.publish(disk)

    (snapshot,) = account.snapshots()
    assert "image/publisher-policy.json" in str(told.value)
    assert f"--snapshot-id {snapshot}" in str(told.value)
    assert account.snapshots() == {snapshot: "pending"}
    assert account.images() == {}

    account.mend()
    assert account.publish(disk) == 0

    assert account.snapshots() == {snapshot: "completed"}
    assert put(account) == dict.fromkeys(BLOCKS, 1)


def test_nobody_waits_for_an_upload_that_has_failed(account: Account, bakery: Bakery) -> None:
    """One block is refused while the others are throttled, and would be for weeks: these wait no longer."""
    account.fail(
        "ebs", "PutSnapshotBlock", code="RequestThrottledException", when=lambda given: given["BlockIndex"] != 9
    )
    account.fail("ebs", "PutSnapshotBlock", code="AccessDeniedException", when=lambda given: given["BlockIndex"] == 9)

    with pytest.raises(ImageError, match="AWS denies PutSnapshotBlock"):
        account.publish(bakery.bake(), patience=Patience(attempts=100_000))


def test_a_journal_that_is_lost_costs_blocks_and_no_snapshot(account: Account, bakery: Bakery) -> None:
    """Without it the token finds the snapshot, and its blocks are put once more."""
    disk = bakery.bake()
    account.fail("ebs", "CompleteSnapshot", code="AccessDeniedException")
    with pytest.raises(ImageError):
        account.publish(disk)
    (journal,) = journals(disk)
    journal.unlink()

    account.mend()
    assert account.publish(disk) == 0

    assert list(account.snapshots().values()) == ["completed"]
    assert put(account) == dict.fromkeys(BLOCKS, 2)


def test_a_journal_that_was_cut_short_counts_for_what_is_whole(account: Account, bakery: Bakery) -> None:
    """Half a line is a block to be put again."""
    disk = bakery.bake()
    account.fail("ebs", "CompleteSnapshot", code="AccessDeniedException")
    with pytest.raises(ImageError):
        account.publish(disk)
    (journal,) = journals(disk)
    journal.write_text(journal.read_text()[:-9])

    account.mend()
    assert account.publish(disk) == 0

    assert sorted(put(account).values()) == [1] * (len(BLOCKS) - 1) + [2]
    (snapshot,) = account.snapshots()
    assert account.blocks(snapshot) == content(disk)


def test_a_journal_of_another_disk_counts_for_nothing(account: Account, bakery: Bakery) -> None:
    """The name is the same, the content is not: another snapshot, with all its blocks."""
    disk = bakery.bake(seed=1)
    account.fail("ebs", "CompleteSnapshot", code="AccessDeniedException")
    with pytest.raises(ImageError):
        account.publish(disk)
    (first,) = account.snapshots()

    account.mend()
    assert account.publish(bakery.bake(seed=2)) == 0

    (second,) = account.snapshots().keys() - {first}
    assert account.snapshots() == {first: "pending", second: "completed"}
    assert account.blocks(second) == content(disk)


@pytest.mark.parametrize("state", ["gone", "error"])
def test_a_snapshot_that_ebs_has_given_up_is_begun_anew(account: Account, bakery: Bakery, state: str) -> None:
    """Cancelled after a day, or deleted by hand: another one, and nothing is left of the first."""
    disk = bakery.bake()
    account.fail("ebs", "PutSnapshotBlock", code="AccessDeniedException", when=lambda given: given["BlockIndex"] == 9)
    with pytest.raises(ImageError):
        account.publish(disk)
    (first,) = account.snapshots()
    account.mend()
    if state == "gone":
        account.client("ec2").delete_snapshot(SnapshotId=first)
    else:
        account.set_state(first, "error")

    assert account.publish(disk) == 0

    (second,) = account.snapshots()
    assert second != first
    assert account.blocks(second) == content(disk)


def test_a_whole_that_is_wrong_is_deleted(account: Account, bakery: Bakery) -> None:
    """EBS refuses the checksum of all: no image, no snapshot, and the next run begins anew."""
    disk = bakery.bake()
    account.fail("ebs", "CompleteSnapshot", code="ValidationException", times=1)

    with pytest.raises(ImageError, match="is not what was uploaded; it is deleted"):
        account.publish(disk)

    assert (account.snapshots(), account.images()) == ({}, {})
    assert account.publish(disk) == 0
    (snapshot,) = account.snapshots()
    assert account.blocks(snapshot) == content(disk)


def test_a_snapshot_that_ends_in_an_error_is_no_image(account: Account, bakery: Bakery) -> None:
    """What EBS finds out later counts too; where it cannot be deleted, the command is told."""
    disk = bakery.bake()
    account.after("ebs", "CompleteSnapshot", lambda given: account.set_state(given["SnapshotId"], "error"))
    account.fail("ec2", "DeleteSnapshot", code="UnauthorizedOperation", status=403)

    with pytest.raises(ImageError, match="EBS could not complete") as told:
        account.publish(disk)

    (snapshot,) = account.snapshots()
    assert f"run: aws ec2 delete-snapshot --region {HOME} --snapshot-id {snapshot}" in str(told.value)
    assert account.images() == {}


def test_a_disk_that_changes_meanwhile_is_refused(account: Account, bakery: Bakery) -> None:
    """Something writes to the file after it was read: no image comes of it."""
    disk = bakery.bake()

    def write(_: object) -> None:
        with disk.open("r+b") as file:
            file.seek(9 * BLOCK)
            file.write(b"other")

    account.after("ebs", "StartSnapshot", write)

    with pytest.raises(ImageError, match="has changed while it was uploaded"):
        account.publish(disk)

    assert account.images() == {}


def test_the_same_disk_is_the_same_snapshot(account: Account, bakery: Bakery) -> None:
    """The image was deregistered and its snapshot is there: it is used, and nothing is uploaded."""
    disk = bakery.bake()
    account.publish(disk)
    (snapshot,) = account.snapshots()
    account.client("ec2").deregister_image(ImageId=account.images()[NAME]["ImageId"])
    account.log.clear()

    assert account.publish(disk) == 0

    assert account.calls("ebs") == []
    assert account.images()[NAME]["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"] == snapshot


def test_a_journal_keeps_what_it_is_told(tmp_path: Path) -> None:
    """Written and read again, by the same image only."""
    journal = Journal(tmp_path / "journal", "a" * 64)
    journal.begin("snap-1", 2)
    journal.note(7, "b" * 64)
    journal.close()

    again = Journal(tmp_path / "journal", "a" * 64)
    assert (again.snapshot, again.attempt, again.blocks) == ("snap-1", 2, {7: "b" * 64})
    assert Journal(tmp_path / "journal", "c" * 64).snapshot == ""

    text = (tmp_path / "journal").read_text()
    (tmp_path / "journal").write_text(text + "[8, ")
    torn = Journal(tmp_path / "journal", "a" * 64)
    torn.note(9, "d" * 64)
    torn.close()
    assert Journal(tmp_path / "journal", "a" * 64).blocks == {7: "b" * 64, 9: "d" * 64}

    (tmp_path / "journal").write_text("{")
    assert Journal(tmp_path / "journal", "a" * 64).snapshot == ""
