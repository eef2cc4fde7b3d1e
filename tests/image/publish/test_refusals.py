"""What publishing refuses, before it changes anything: in a sentence that says what to do, and with an exit code."""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from image import verify
from image.errors import ImageError
from image.promises import Finding
from image.publish import add_arguments, run
from tests.image.publish.account import HOME, OTHER, Account
from tests.image.publish.disks import Bakery

ROOT = Path(__file__).parents[3]
NOBODY = "111122223333"


def rename(name: str) -> Callable[[Bakery, Path], Path]:
    def renamed(_: Bakery, disk: Path) -> Path:
        return disk.rename(disk.with_name(name))

    return renamed


def without(suffix: str) -> Callable[[Bakery, Path], Path]:
    def lost(_: Bakery, disk: Path) -> Path:
        disk.with_name(disk.stem + suffix).unlink()
        return disk

    return lost


def beside(suffix: str, text: str) -> Callable[[Bakery, Path], Path]:
    def wrote(_: Bakery, disk: Path) -> Path:
        disk.with_name(disk.stem + suffix).write_text(text)
        return disk

    return wrote


def says(**other: object) -> Callable[[Bakery, Path], Path]:
    def reported(bakery: Bakery, disk: Path) -> Path:
        bakery.report(disk, **other)
        return disk

    return reported


def holds(octets: bytes) -> Callable[[Bakery, Path], Path]:
    def wrote(bakery: Bakery, disk: Path) -> Path:
        disk.write_bytes(octets)
        bakery.report(disk)
        return disk

    return wrote


FILES = [
    (
        "no file",
        lambda _, disk: disk.with_name("nothing.raw"),
        "there is no such file: bake an image first: make image",
    ),
    (
        "no disk of a release",
        rename("disk.raw"),
        "this is no raw disk of a release: want NAME-VERSION-ARCHITECTURE.raw",
    ),
    ("another form", rename("discriminat-0.1.0-arm64.qcow2"), "this is no raw disk of a release"),
    ("no version", rename("discriminat-0.1-arm64.raw"), "this is no raw disk of a release"),
    (
        "Debian's architecture",
        rename("discriminat-0.1.0-amd64.raw"),
        "AWS knows no architecture amd64: it is x86_64 or",
    ),
    ("nothing in it", holds(b""), "0 octets that are no disk with a partition table"),
    ("no partitions", holds(bytes(1 << 20)), "1048576 octets that are no disk with a partition table"),
    ("half a sector", holds(b"\0" * 510 + b"\x55\xaaEFI PART" + bytes(200)), "are no disk with a partition table"),
    ("no report", without(".raw.json"), "raw.json is missing, which lies beside the image: bake it again: make image"),
    ("a report cut short", beside(".raw.json", '{"sha256"'), "raw.json cannot be read"),
    ("a list for a report", beside(".raw.json", "[]"), "raw.json holds no JSON object"),
    ("no commit", says(commit=""), "does not say the image's commit: bake it again"),
    ("no checksum", says(sha256=None), "does not say the image's sha256: bake it again"),
    ("another disk", says(sha256="0" * 64), "is not what was baked, its SHA-256 is"),
    ("another version", says(version="0.2.0"), "the name says 0.1.0, discriminat-0.1.0-arm64.raw.json says 0.2.0"),
    ("another architecture", says(architecture="x86_64"), "the name says arm64, discriminat-0.1.0-arm64.raw.json says"),
    ("no bill of materials", without(".cdx.json"), "cdx.json is missing, which lies beside the image"),
    ("another bill", beside(".cdx.json", '{"spdxVersion": "SPDX-2.3"}'), "is no bill of materials in the CycloneDX"),
    ("another clone", says(commit="0" * 40), "does not have image/recipe.toml of commit 000000"),
]


@pytest.mark.parametrize(("what", "spoil", "told"), FILES, ids=[row[0] for row in FILES])
def test_a_file_that_will_not_do(
    account: Account, bakery: Bakery, what: str, spoil: Callable[[Bakery, Path], Path], told: str
) -> None:
    """It is named, with what is wrong about it."""
    path = spoil(bakery, bakery.bake())

    with pytest.raises(ImageError) as refused:
        account.publish(path)

    assert told in str(refused.value)
    assert path.name.removesuffix(".raw") in str(refused.value) or what == "another clone"
    assert account.changes() == []


def test_one_release_at_a_time(account: Account, bakery: Bakery) -> None:
    """Two versions, or an architecture twice, are not one release."""
    disk = bakery.bake()

    with pytest.raises(ImageError, match="several versions: publish one version at a time"):
        account.publish(disk, bakery.bake("x86_64", version="0.2.0"))
    with pytest.raises(ImageError, match="two images are of the same architecture"):
        account.publish(disk, disk)

    assert account.log == []


@pytest.mark.parametrize("wish", [{"public": True}, {"share": (NOBODY,)}, {"sign_key": Path("key")}], ids=str)
def test_what_no_commit_holds_is_for_oneself(account: Account, bakery: Bakery, wish: dict[str, Any]) -> None:
    """Nobody could tell what is in it; for tests of one's own it will do, and its provenance says so."""
    disk = bakery.bake()
    bakery.report(disk, commit=f"{bakery.commit}-dirty")

    with pytest.raises(ImageError, match="baked from changes that no commit holds: commit them"):
        account.publish(disk, **wish)
    assert account.log == []

    assert account.publish(disk) == 0
    source = bakery.manifest()["images"]["arm64"]["provenance"]["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert source[0]["annotations"] == {"dirty": True}
    assert "image/recipe.toml" not in {each["name"] for each in source}


def test_an_image_that_breaks_a_promise_is_not_published(
    account: Account, bakery: Bakery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `python -m image check` finds is told, and nothing is uploaded."""
    disk = bakery.bake()
    looked = []

    def check(path: Path) -> list[Finding]:
        looked.append(path)
        return [Finding("no-sshd", "/usr/sbin/sshd is a server to log in to"), Finding("locked", "root has a password")]

    monkeypatch.setattr(verify, "check", check)

    with pytest.raises(ImageError, match="breaks its promises, and is not published") as told:
        account.publish(disk, unchecked=False)

    assert looked == [disk]
    assert "  no-sshd: /usr/sbin/sshd is a server to log in to\n  locked: root has a password" in str(told.value)
    assert f"python -m image check {disk}" in str(told.value)
    assert account.changes() == []


PLACES = [
    ("eu-west-9", "AWS has no region eu-west-9: see how it is spelt"),
    ("ap-east-1", "ap-east-1 is not enabled for this account: aws account enable-region --region-name ap-east-1"),
]


@pytest.mark.parametrize(("region", "told"), PLACES)
def test_a_region_that_is_not_there(account: Account, bakery: Bakery, region: str, told: str) -> None:
    """One to copy to is looked up before anything is done."""
    with pytest.raises(ImageError, match=told):
        account.publish(bakery.bake(), copy_to=(OTHER, region))

    assert account.changes() == []


REFUSED = [
    # service  operation              status  error code              what is told
    ("sts", "GetCallerIdentity", 403, "InvalidClientTokenId", "AWS does not take these credentials"),
    ("sts", "GetCallerIdentity", 403, "ExpiredToken", "AWS does not take these credentials (ExpiredToken): renew them"),
    (
        "ec2",
        "DescribeRegions",
        403,
        "UnauthorizedOperation",
        "AWS denies DescribeRegions: give the publisher the rights",
    ),
    ("ec2", "DescribeImages", 503, "RequestLimitExceeded", "run the command again later, it goes on where it stopped"),
    ("ebs", "StartSnapshot", 400, "ServiceQuotaExceededException", "AWS refused StartSnapshot, ServiceQuotaExceeded"),
    ("ec2", "RegisterImage", 400, "InvalidParameterValue", "AWS refused RegisterImage, InvalidParameterValue"),
]


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: " ".join(map(str, row[1:4])))
def test_what_aws_refuses_is_told(account: Account, bakery: Bakery, row: tuple[str, str, int, str, str]) -> None:
    """By the name of the operation, with the next step; nothing is seen by others."""
    service, operation, status, code, told = row
    account.fail(service, operation, status=status, code=code)

    with pytest.raises(ImageError) as refused:
        account.publish(bakery.bake())

    assert told in str(refused.value)
    assert {"ModifyImageAttribute", "PutParameter"}.isdisjoint(account.changes())


# ---- the command line ----


def command(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="publish")
    add_arguments(parser)
    return run(parser.parse_args(arguments))


ARGUMENTS = [
    (("--region", "Ireland"), "'Ireland' is no region: want one such as eu-west-1"),
    (("--copy-to", "eu-west-1,"), "'' is no region"),
    (("--copy-to", "eu-west-1,eu-west-1a"), "'eu-west-1a' is no region"),
    (("--share", "1234"), "'1234' is no AWS account: want 12 digits"),
    (("--share", "1111-2222-3333"), "is no AWS account"),
    (("--deprecate-after", "0"), "'0' is no number of days from 1 to 3650"),
    (("--deprecate-after", "1y"), "'1y' is no number of days"),
    (("--deprecate-after", "3651"), "is no number of days"),
    (("--parameter", "discriminat"), "'discriminat' is no path for a parameter: want one such as /discriminat/ami"),
    (("--parameter", "/aws/service/discriminat"), "is no path for a parameter"),
    (("--parameter", "/a//b"), "is no path for a parameter"),
    (("--everybody",), "unrecognized arguments: --everybody"),
]


@pytest.mark.parametrize(("arguments", "told"), ARGUMENTS, ids=[" ".join(row[0]) for row in ARGUMENTS])
def test_an_argument_that_will_not_do(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str
) -> None:
    """Exit code 2, and what to write instead."""
    with pytest.raises(SystemExit) as ended:
        command(*arguments)

    assert ended.value.code == 2
    assert told in capsys.readouterr().err


@pytest.fixture
def keys(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "publisher")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


def test_a_public_image_is_deprecated_within_two_years(bakery: Bakery) -> None:
    """AWS allows no longer, and is not asked."""
    with pytest.raises(ImageError, match="deprecated after 730 days at most: shorten --deprecate-after"):
        command("--image", str(bakery.bake()), "--public", "--deprecate-after", "731")


@pytest.mark.usefixtures("keys")
def test_without_a_region(bakery: Bakery, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is guessed; the one of AWS's own settings counts."""
    disk = str(bakery.bake())
    with pytest.raises(ImageError, match="no region is named: give one to --region, such as eu-west-1"):
        command("--image", disk)

    monkeypatch.setenv("AWS_REGION", "eu-west-9")
    with pytest.raises(ImageError, match="this clone does not have"):  # so it went on
        command("--image", disk)


@pytest.mark.usefixtures("account")
def test_without_credentials(bakery: Bakery, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says where AWS looks for them."""
    monkeypatch.setattr("image.provenance._sha256", lambda *_: "0" * 64)

    with pytest.raises(ImageError, match="AWS has no credentials here: set AWS_PROFILE, or AWS_ACCESS_KEY_ID"):
        command("--region", HOME, "--image", str(bakery.bake()))


@pytest.mark.usefixtures("account")
def test_with_a_profile_that_is_not_there(bakery: Bakery, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS's settings are named as what is wrong."""
    monkeypatch.setenv("AWS_PROFILE", "release")

    with pytest.raises(ImageError, match=r"AWS's settings on this machine are wrong .*release.*: mend them"):
        command("--region", HOME, "--image", str(bakery.bake()))


def test_without_an_image_there_is_one_of_this_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """build/ is looked at, for the version of pyproject.toml."""
    (tmp_path / "build").mkdir()
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "7.8.9"\n')
    monkeypatch.setattr("image.order.ROOT", tmp_path)
    monkeypatch.setattr("image.order.BUILD", tmp_path / "build")

    with pytest.raises(
        ImageError, match=r"build/ has no image of version 7\.8\.9: bake one \(make image\), or name it"
    ):
        command("--region", HOME)

    (tmp_path / "build/discriminat-7.8.9-arm64.raw").touch()
    (tmp_path / "build/discriminat-7.8.8-x86_64.raw").touch()
    with pytest.raises(ImageError, match=r"discriminat-7\.8\.9-arm64\.raw: 0 octets"):
        command("--region", HOME)


@pytest.mark.usefixtures("keys")
def test_the_command_publishes(
    account: Account, bakery: Bakery, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All arguments arrive, and each step is a line."""
    disk = bakery.bake()
    monkeypatch.setattr(verify, "check", lambda path: [])
    monkeypatch.setattr("image.provenance._sha256", lambda *_: "0" * 64)
    monkeypatch.setattr("image.cloud.Patience.before_look", lambda self: None)
    key = bakery.key("release")

    status = command(
        *("--region", HOME, "--image", str(disk), "--copy-to", OTHER, "--share", NOBODY, "--deprecate-after", "30"),
        *("--parameter", "/ours", "--sign-key", str(key), "--manifest", str(bakery.directory / "manifest.json")),
    )

    out = capsys.readouterr().out.splitlines()
    image, copy = (account.images(region)["discriminat-0.1.0-arm64"] for region in (HOME, OTHER))
    assert status == 0
    assert out[-2:] == [
        f"published: discriminat-0.1.0-arm64 in {HOME} is {image['ImageId']}",
        f"published: discriminat-0.1.0-arm64 in {OTHER} is {copy['ImageId']}",
    ]
    assert account.may_launch(copy["ImageId"], OTHER) == [{"UserId": NOBODY}]
    assert image["DeprecationTime"] == copy["DeprecationTime"]
    parameter = account.client("ssm", OTHER).get_parameter(Name="/ours/0.1.0/arm64")["Parameter"]
    assert parameter["Value"] == copy["ImageId"]
    assert json.loads((bakery.directory / "manifest.json").read_text())["account"] == "123456789012"
    assert (bakery.directory / "manifest.json.sig").exists()


def test_a_mistake_is_one_line_and_an_exit_code(bakery: Bakery) -> None:
    """As the program itself ends, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "image", "publish", "--region", HOME, "--image", str(bakery.directory / "nothing.raw")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )

    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"image: error: {bakery.directory}/nothing.raw: there is no such file: bake an image first: make image"
    )
