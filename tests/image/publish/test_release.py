"""The release manifest: what it says, that it grows, and that nobody changes it unnoticed."""

import hashlib
import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image import release
from image.errors import ImageError
from image.signature import allowed_signers
from tests.image.publish.account import HOME, OTHER, THIRD, Account
from tests.image.publish.disks import Bakery

README = Path(__file__).parents[3] / "image/README.md"
NAME = "discriminat-0.1.0.manifest.json"
ARM = "discriminat-0.1.0-arm64"


def sha256(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()


def test_it_says_which_image_is_where(account: Account, bakery: Bakery) -> None:
    """Ids, hashes, checksums: each compared with the file, the account, and what EBS was told."""
    disk = bakery.bake()

    account.publish(disk, copy_to=(OTHER,))

    manifest = bakery.manifest()
    about = {key: manifest[key] for key in ("schema", "name", "version", "account")}
    assert about == {"schema": 1, "name": "discriminat", "version": "0.1.0", "account": "123456789012"}
    said = manifest["images"]["arm64"]
    images = {region: account.images(region)[ARM] for region in (HOME, OTHER)}
    assert said["name"] == ARM
    assert said["regions"] == {
        region: {"image": image["ImageId"], "snapshot": image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]}
        for region, image in images.items()
    }
    assert said["disk"]["sha256"] == sha256(disk.read_bytes())
    assert said["disk"]["octets"] == disk.stat().st_size
    (complete,) = account.calls("ebs", "CompleteSnapshot")
    assert said["disk"]["ebs"] == {
        "checksum": complete.arguments["Checksum"],
        "checksum_algorithm": "SHA256",
        "checksum_aggregation_method": "LINEAR",
        "blocks": complete.arguments["ChangedBlocksCount"],
        "volume_gib": 1,
    }
    sbom = bakery.directory / f"{ARM}.cdx.json"
    assert said["sbom"] == {"name": sbom.name, "sha256": sha256(sbom.read_bytes())}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", said["published"])


def test_the_provenance_is_that_of_the_commit(account: Account, bakery: Bakery) -> None:
    """An in-toto statement about the disk, with recipe and lock as the commit has them, whatever lies there now."""
    disk = bakery.bake()
    (bakery.repository / "image/recipe.toml").write_text("changed since\n")

    account.publish(disk)

    statement = bakery.manifest()["images"]["arm64"]["provenance"]
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["subject"] == [{"name": disk.name, "digest": {"sha256": sha256(disk.read_bytes())}}]
    definition = statement["predicate"]["buildDefinition"]
    assert definition["externalParameters"] == {"architecture": "arm64", "version": "0.1.0"}
    assert definition["internalParameters"] == {"SOURCE_DATE_EPOCH": 1_790_000_000}
    depends = {each["name"]: each["digest"] for each in definition["resolvedDependencies"]}
    assert depends["discriminat"] == {"gitCommit": bakery.commit}
    for name in ("image/recipe.toml", "image/lock/arm64.txt"):
        assert depends[name] == {"sha256": sha256(f"{name}\n".encode())}
    assert statement["predicate"]["runDetails"]["builder"]["id"]
    assert definition["buildType"]


def test_its_octets_are_canonical(account: Account, bakery: Bakery) -> None:
    """Sorted keys, no white space: there is one text to sign."""
    account.publish(bakery.bake())

    octets = (bakery.directory / NAME).read_bytes()
    assert octets == release.render(json.loads(octets))
    assert b"\n" not in octets
    assert list(json.loads(octets)) == sorted(json.loads(octets))


json_values = st.recursive(
    st.text() | st.integers(-(2**53) + 1, 2**53 - 1) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=5))
def test_what_is_rendered_is_read_and_rendered_alike(manifest: dict[str, object]) -> None:
    """Whatever it holds, and in whatever order it was put in."""
    octets = release.render(manifest)

    assert json.loads(octets) == manifest
    assert release.render(dict(reversed(manifest.items()))) == octets


def test_it_grows(account: Account, bakery: Bakery) -> None:
    """Another architecture, another region: what was there stays, its time too."""
    account.publish(bakery.bake("arm64"))
    first = bakery.manifest()

    account.publish(bakery.bake("x86_64"), copy_to=(OTHER,))

    second = bakery.manifest()
    assert second["images"]["arm64"] == first["images"]["arm64"]
    assert list(second["images"]["x86_64"]["regions"]) == [HOME, OTHER]

    account.publish(bakery.bake("arm64"), region=HOME, copy_to=(THIRD,))

    third = bakery.manifest()
    assert list(third["images"]["arm64"]["regions"]) == [HOME, THIRD]
    assert third["images"]["x86_64"] == second["images"]["x86_64"]

    account.publish(bakery.bake("arm64"))

    assert bakery.manifest() == third


def test_a_further_run_leaves_it_as_it_is(account: Account, bakery: Bakery) -> None:
    """Octet for octet, signed too: the time is that of the first one."""
    disk, key = bakery.bake(), bakery.key("release")
    account.publish(disk, sign_key=key)
    signed = [(bakery.directory / name).read_bytes() for name in (NAME, f"{NAME}.sig")]
    old = signed[0].replace(bakery.manifest()["images"]["arm64"]["published"].encode(), b"2026-01-01T00:00:00Z")
    (bakery.directory / f"{NAME}.sig").unlink()
    (bakery.directory / NAME).write_bytes(old)

    account.publish(disk)

    assert (bakery.directory / NAME).read_bytes() == old


WRONG = [
    ({"version": "0.2.0"}, "the manifest has version 0.2.0, not 0.1.0: give another file to --manifest"),
    ({"account": "999999999999"}, "the manifest has account 999999999999, not 123456789012"),
    ({"name": "other"}, "the manifest has name other, not discriminat"),
    ({"schema": 2}, "is no release manifest of schema 1"),
    ({"images": []}, "is no release manifest of schema 1"),
    ({"images": {"arm64": {"disk": {"sha256": "0" * 64}}}}, "the manifest has another disk for arm64, 0000"),
]


@pytest.mark.parametrize(("other", "told"), WRONG, ids=[row[1] for row in WRONG])
def test_another_manifest_is_not_added_to(
    account: Account, bakery: Bakery, other: dict[str, object], told: str
) -> None:
    """It is refused before anything is uploaded."""
    about = {"schema": 1, "name": "discriminat", "version": "0.1.0", "account": "123456789012", "images": {}}
    (bakery.directory / NAME).write_text(json.dumps(about | other))

    with pytest.raises(ImageError, match=re.escape(told)):
        account.publish(bakery.bake())

    assert account.changes() == []


def test_what_is_no_manifest_is_not_overwritten(account: Account, bakery: Bakery) -> None:
    """Whatever it is, it is somebody's."""
    notes = bakery.directory / "notes.txt"
    notes.write_text("remember the milk")

    with pytest.raises(ImageError, match=r"notes\.txt is no release manifest"):
        account.publish(bakery.bake(), manifest=notes)

    assert (notes.read_text(), account.log) == ("remember the milk", [])


# ---- signatures ----


def verify(bakery: Bakery, key: Path) -> "subprocess.CompletedProcess[str]":
    """Run the command of the README, as a stranger would who has the public key."""
    (command,) = re.findall(r"^\$ (ssh-keygen -Y verify .*)$", README.read_text(), re.MULTILINE)
    (bakery.directory / "allowed_signers").write_text(allowed_signers(key))
    program, *arguments = shlex.split(command)
    at = arguments.index("<")
    with (bakery.directory / arguments[at + 1]).open() as manifest:
        return subprocess.run(
            [program, *arguments[:at]],
            stdin=manifest,
            capture_output=True,
            text=True,
            check=False,
            cwd=bakery.directory,
        )


def test_a_stranger_can_check_it(account: Account, bakery: Bakery) -> None:
    """With the key that signed it, and with no other."""
    key, other = bakery.key("release"), bakery.key("other")

    account.publish(bakery.bake(), sign_key=key)

    done = verify(bakery, key)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('Good "discriminat-image" signature for discriminat with ED25519 key SHA256:')
    assert verify(bakery, other).returncode != 0
    assert f"{bakery.directory / NAME}: written, signed by {key}" in account.said


def test_the_form_of_allowed_signers_is_that_of_the_readme(bakery: Bakery) -> None:
    """The line that strangers write is the line that the program checks by."""
    (line,) = re.findall(r"^(discriminat namespaces=.*?) \S+$", README.read_text(), re.MULTILINE)

    assert allowed_signers(bakery.key("release")).startswith(f"{line} ")


@pytest.mark.parametrize("spoilt", ["an id", "one octet", "the signature", "a space"])
def test_tampering_is_found(account: Account, bakery: Bakery, spoilt: str) -> None:
    """Whatever is changed, the command says no; and no further run signs what was changed."""
    disk, key = bakery.bake(), bakery.key("release")
    account.publish(disk, sign_key=key)
    path, signature = bakery.directory / NAME, bakery.directory / f"{NAME}.sig"
    octets = path.read_bytes()
    if spoilt == "an id":
        path.write_bytes(octets.replace(account.images()[ARM]["ImageId"].encode(), b"ami-0bad0bad0bad0bad0"))
    elif spoilt == "one octet":
        path.write_bytes(octets[:-1])
    elif spoilt == "a space":
        path.write_bytes(octets.replace(b":", b": ", 1))
    else:
        lines = signature.read_text().splitlines(keepends=True)
        lines[2] = lines[2].swapcase()
        signature.write_text("".join(lines))

    assert verify(bakery, key).returncode != 0
    account.log.clear()
    with pytest.raises(ImageError, match=r"was changed after it was signed|is no release manifest"):
        account.publish(disk, sign_key=key)
    assert account.log == []


def test_what_was_not_signed_is_not_signed_later(account: Account, bakery: Bakery) -> None:
    """Somebody may have changed it meanwhile: signing begins with a new one."""
    disk, key = bakery.bake(), bakery.key("release")
    account.publish(disk)
    assert not (bakery.directory / f"{NAME}.sig").exists()
    assert f"{bakery.directory / NAME}: written, not signed: give a key to --sign-key" in account.said

    with pytest.raises(ImageError, match="is not signed: move it away and name all its images and regions again"):
        account.publish(disk, sign_key=key)

    (bakery.directory / NAME).unlink()
    account.publish(disk, sign_key=key)
    assert verify(bakery, key).returncode == 0


def test_what_was_signed_stays_signed(account: Account, bakery: Bakery) -> None:
    """A run without the key would leave a signature that is wrong; with it, what is added is signed too."""
    disk, key = bakery.bake(), bakery.key("release")
    account.publish(disk, sign_key=key)
    account.log.clear()

    with pytest.raises(ImageError, match=r"manifest\.json is signed: give the key to --sign-key"):
        account.publish(disk, copy_to=(OTHER,))
    assert account.log == []

    account.publish(disk, copy_to=(OTHER,), sign_key=key)
    assert verify(bakery, key).returncode == 0
    assert list(bakery.manifest()["images"]["arm64"]["regions"]) == [HOME, OTHER]


def test_a_key_in_an_agent_signs(account: Account, bakery: Bakery, monkeypatch: pytest.MonkeyPatch) -> None:
    """The public half is named, the private one lies elsewhere."""
    key = bakery.key("release")
    started = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    for name, value in re.findall(r"(SSH_\w+)=([^;]+);", started):
        monkeypatch.setenv(name, value)
    subprocess.run(["ssh-add", "-q", key], check=True, capture_output=True)
    key.unlink()
    try:
        account.publish(bakery.bake(), sign_key=key.with_name("release.pub"))
    finally:
        subprocess.run(["ssh-agent", "-k"], check=True, capture_output=True)

    assert verify(bakery, key.with_name("release.pub")).returncode == 0


@pytest.mark.parametrize("kind", ["missing", "no key", "public, and no agent"])
def test_a_key_that_cannot_sign_is_found_before(
    account: Account, bakery: Bakery, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """And not after an hour of copying."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    key = bakery.directory / "release"
    if kind == "no key":
        key.write_text("a key\n")
    elif kind != "missing":
        bakery.key("release")
        key.unlink()
        key = key.with_name("release.pub")

    with pytest.raises(ImageError, match=r"cannot sign .*: name a private SSH key, or a public one that ssh-agent has"):
        account.publish(bakery.bake(), sign_key=key)

    assert account.log == []


def test_a_signature_is_never_that_of_another_text(
    account: Account, bakery: Bakery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine stops between the manifest and its signature: there is none, rather than the old one."""
    disk, key = bakery.bake(), bakery.key("release")
    account.publish(disk, sign_key=key)
    write = release._write

    def stop(path: Path, octets: bytes) -> None:
        if path.name.endswith(".sig.new"):
            raise ImageError("the lights are out")
        write(path, octets)

    monkeypatch.setattr(release, "_write", stop)
    with pytest.raises(ImageError, match="the lights are out"):
        account.publish(disk, copy_to=(OTHER,), sign_key=key)

    assert list(bakery.manifest()["images"]["arm64"]["regions"]) == [HOME, OTHER]
    assert not (bakery.directory / f"{NAME}.sig").exists()


def test_a_full_disk_leaves_the_old_manifest(account: Account, bakery: Bakery, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new one is written beside it first; the next run writes it."""
    disk = bakery.bake()
    account.publish(disk)
    before = (bakery.directory / NAME).read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(ImageError, match="No space left on device"):
            account.publish(disk, copy_to=(OTHER,))
    assert (bakery.directory / NAME).read_bytes() == before

    assert account.publish(disk, copy_to=(OTHER,)) == 0
    assert list(bakery.manifest()["images"]["arm64"]["regions"]) == [HOME, OTHER]
