"""Packer's template: valid as far as Debian's Packer reads it, and the AMI that it registers is the one of publish.

Debian 12 has Packer 1.6.6. It knows none of what `NEWER` takes out, so that this is checked by nobody here: that the
plugin is found, that it takes `boot_mode`, `imds_support` and `metadata_options`. The rest is.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from image.ami import Amis, describe, labels
from image.baked import Baked
from image.ebs import GIB, IDENTITY, Disk

ROOT = Path(__file__).parents[2]
TEMPLATE = (ROOT / "image/discriminat.pkr.hcl").read_text()
NEWER = (
    re.compile(r"^packer \{\n.*?^\}\n", re.MULTILINE | re.DOTALL),
    re.compile(r"^  metadata_options \{\n.*?^  \}\n", re.MULTILINE | re.DOTALL),
    re.compile(r"^  boot_mode .*\n", re.MULTILINE),
    re.compile(r"^  imds_support .*\n", re.MULTILINE),
)
ARCHITECTURES = ["x86_64", "arm64"]
COMMIT = "c0ffee" * 6 + "c0ff"


def packer(directory: Path, template: str, *arguments: str, verb: str = "validate") -> subprocess.CompletedProcess[str]:
    """Run Debian's Packer on a template, in a directory that has what it names."""
    if shutil.which("packer") is None:
        pytest.skip("there is no packer here: Debian 12 has it, later releases have not")
    (directory / "image").mkdir(exist_ok=True)
    shutil.copy(ROOT / "pyproject.toml", directory)
    shutil.copy(ROOT / "image/provision.sh", directory / "image")
    path = directory / "image/template.pkr.hcl"
    path.write_text(template)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(directory), "CHECKPOINT_DISABLE": "1"}
    return subprocess.run(
        ["packer", verb, *arguments, path], capture_output=True, text=True, check=False, env=environment, timeout=60
    )


def older() -> str:
    """Return the template without what Packer 1.6.6 does not know."""
    text = TEMPLATE
    for part in NEWER:
        text, times = part.subn("", text)
        assert times == 1, part.pattern
    return text


@pytest.mark.subprocesses
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("commit", ["", COMMIT])
def test_packer_takes_it(tmp_path: Path, architecture: str, commit: str) -> None:
    """Builder, provisioners and every value are what they should be, for both architectures."""
    done = packer(tmp_path, older(), "-var", f"architecture={architecture}", "-var", f"commit={commit}")

    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.subprocesses
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("ami_name ", "ami_nam ", "ami_nam"),
        ("throughput            = 125", "throughput            = 1", "Throughput"),
        ("provision.sh", "provisio.sh", "provisio.sh"),
        ("local.archive", "local.archives", "archives"),
    ],
)
def test_packer_refuses_what_is_wrong(tmp_path: Path, old: str, new: str, words: str) -> None:
    """Its validation looks at names, values and files."""
    assert old in older()

    done = packer(tmp_path, older().replace(old, new))

    assert done.returncode == 1
    assert words in done.stdout + done.stderr


# ---- what is registered ----


class Recorder:
    """Stands for a region: keeps what is asked for."""

    name = "eu-west-1"

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def ask(self, _service: str, _call: str, *, passing: object = None, **asked: Any) -> dict[str, str]:
        self.asked = asked
        return {"ImageId": "ami-1"}


def published(tmp_path: Path, architecture: str) -> tuple[Baked, dict[str, Any]]:
    """Return what `publish` asks EC2 for."""
    (tmp_path / "sbom").write_text("{}")
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    baked = Baked(tmp_path, "discriminat", version[1], architecture, "5" * 64, COMMIT, {}, tmp_path / "sbom")
    region = Recorder()
    Amis(region, lambda _text: None).register(baked, Disk(tmp_path, GIB - 1, "5" * 64, {}), "snap-1")
    return baked, region.asked


def setting(name: str, block: str = TEMPLATE) -> str:
    """Return what stands behind a name in the template, quotes and comment taken off."""
    found = re.findall(rf"^ +{name} += (.*?)(?: +#.*)?$", block, re.MULTILINE)
    assert len(found) == 1, (name, found)
    return str(found[0]).strip('"')


def chosen(text: str, architecture: str) -> str:
    """Return the side of `var.architecture == "x86_64" ? A : B` that counts."""
    sides = re.fullmatch(r'var\.architecture == "x86_64" \? "(.+)" : "(.+)', text)
    assert sides, text
    return sides[1 if architecture == "x86_64" else 2]


def evaluated(tmp_path: Path, architecture: str) -> dict[str, Any]:
    """Return the template's local values as Packer computes them."""
    arguments = ("-var", f"architecture={architecture}", "-var", f"commit={COMMIT}")
    done = packer(tmp_path, older(), *arguments, verb="inspect")
    assert done.returncode == 0, done.stderr
    return {name: json.loads(value) for name, value in re.findall(r"^local\.(\w+): (.+)$", done.stdout, re.MULTILINE)}


@pytest.mark.subprocesses
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_ami_is_called_as_publish_calls_it(tmp_path: Path, architecture: str) -> None:
    """Name, description and tags; what only a finished image could tell is left out of the tags."""
    baked, asked = published(tmp_path, architecture)
    local = evaluated(tmp_path, architecture)

    assert (setting("ami_name"), local["name"]) == ("local.name", asked["Name"])
    assert setting("ami_description") == 'var.commit == "" ? local.about : "${local.about}, commit ${var.commit}'
    assert f"{local['about']}, commit {COMMIT}" == asked["Description"] == describe(baked)
    of_content = {IDENTITY, "discriminat:sbom-sha256"}
    wanted = {name: value for name, value in labels(baked).items() if name not in of_content}
    assert dict(re.findall(r'"(.+)" = "(.+)"', local["tags"])) == wanted


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_ami_has_the_properties_that_publish_gives(tmp_path: Path, architecture: str) -> None:
    """Boot mode, IMDSv2 alone, ENA, and the root device."""
    _, asked = published(tmp_path, architecture)
    root = re.search(r"  ami_root_device \{\n(.*?)  \}\n", TEMPLATE, re.DOTALL)
    assert root
    ebs = asked["BlockDeviceMappings"][0]["Ebs"]

    assert setting("ami_architecture") == "var.architecture"
    assert chosen(setting("boot_mode"), architecture) == asked["BootMode"]
    assert setting("imds_support") == asked["ImdsSupport"]
    assert setting("ena_support") == json.dumps(asked["EnaSupport"])
    assert setting("ami_virtualization_type") == asked["VirtualizationType"]
    assert setting("device_name", root[1]) == asked["RootDeviceName"]
    assert setting("volume_type", root[1]) == ebs["VolumeType"]
    assert setting("volume_size", root[1]) == str(ebs["VolumeSize"])
    assert setting("delete_on_termination", root[1]) == json.dumps(ebs["DeleteOnTermination"])


def test_the_builders_own_disk_stays_out_of_the_ami() -> None:
    """Packer puts every volume of the builder into the AMI that it is not told to leave out."""
    mappings = re.findall(r"  launch_block_device_mappings \{\n(.*?)  \}\n", TEMPLATE, re.DOTALL)
    root = re.search(r'source_device_name += "(.+)"', TEMPLATE)

    assert root
    left_out = {setting("device_name", block): "omit_from_artifact    = true" in block for block in mappings}
    assert left_out == {"/dev/xvda": True, root[1]: False}


def test_the_builder_is_debians_own() -> None:
    """Owner and name of Debian's official AMIs."""
    assert re.search(r'owners += \["136693071363"\]', TEMPLATE)
    assert 'name                = "debian-13-${local.builder[var.architecture].debian}-*"' in TEMPLATE
