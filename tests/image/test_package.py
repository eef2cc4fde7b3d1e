"""Debian packages of ours say what they need, and their archive is one that apt can check."""

import hashlib
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from image import agent, lock, package, recipe, verify
from image.errors import ImageError
from image.order import ROOT, Order, Revision
from image.package import Control
from image.recipe import ARCHITECTURES, SessionManager, read_recipe
from image.tools import Tree

ORDER = Order(read_recipe(), ARCHITECTURES["arm64"], Revision("1.2.3", "c0ffee", 1_700_000_000))


class Recorded(Tree):
    """A tree whose programs are not run: what they are asked is written down."""

    asked: list[list[str]] = []  # noqa: RUF012 -- of this process alone

    def run(self, arguments, work=None, **environment):
        self.asked.append(list(arguments))
        return "Package: x\nVersion: 1\n"


def test_control() -> None:
    """An empty field is none; sizes are whole KiB."""
    control = Control("x", "all", "net", ("a", "b (>= 1)"), "about it")

    assert control.text("1.2.3", 1025) == (
        "Package: x\nVersion: 1.2.3\nArchitecture: all\nMaintainer: discriminat <discriminat@localhost>\n"
        "Section: net\nPriority: optional\nInstalled-Size: 2\nDepends: a, b (>= 1)\nDescription: about it\n"
    )


def test_python_dependencies_are_debians() -> None:
    """What pyproject.toml asks for is asked of Debian too, each by its name there."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    called = {"python-json-logger": "python3-pythonjsonlogger", "publicsuffixlist": "publicsuffix"}
    names = [requirement.split(">")[0].strip() for requirement in wanted]

    assert {called.get(name, f"python3-{name.lower()}") for name in names} <= set(package.DEPENDS)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_locks_have_what_the_engine_depends_on(name: str) -> None:
    """A dependency that came after a lock was written would be found by whoever bakes next."""
    locked = {line.split()[0] for line in lock.path(ARCHITECTURES[name]).read_text(encoding="utf-8").splitlines()}

    assert {each.split()[0] for each in package.DEPENDS} <= locked


def test_whole_depends_on_everything(tmp_path: Path) -> None:
    """On the recipe's packages, the architecture's kernel, the engine of the same version; nothing makes initrds."""
    (tmp_path / "whole").mkdir()

    made = package.make_whole(Recorded(tmp_path), tmp_path, ORDER, ("agent",))

    control = (tmp_path / "whole/DEBIAN/control").read_text(encoding="utf-8")
    depends = next(line for line in control.splitlines() if line.startswith("Depends: "))[9:].split(", ")
    assert depends == [*ORDER.recipe.packages, "agent", "linux-image-cloud-arm64", "discriminat (= 1.2.3)"]
    assert "Provides: linux-initramfs-tool\n" in control
    assert made == tmp_path / "discriminat-image_1.2.3_all.deb"
    sums = (tmp_path / "whole/DEBIAN/md5sums").read_text(encoding="utf-8")
    digest = hashlib.md5((ROOT / "LICENSE").read_bytes(), usedforsecurity=False).hexdigest()
    assert sums == f"{digest}  usr/share/doc/discriminat-image/copyright\n"


def test_engine_that_was_not_compiled_is_refused(tmp_path: Path) -> None:
    """It would filter, at half the speed, and nobody would know."""
    with pytest.raises(ImageError, match=r"the engine is not compiled for arm64: see `extensions` in setup\.py"):
        package.make_engine(Recorded(tmp_path), tmp_path, ORDER)


def test_archive_has_digests(tmp_path: Path) -> None:
    """apt compares them."""
    (tmp_path / "x_1_all.deb").write_bytes(b"content")

    package.index(tmp_path, Recorded(tmp_path))

    assert (tmp_path / "Packages").read_text(encoding="utf-8") == (
        f"Package: x\nVersion: 1\nFilename: ./x_1_all.deb\nSize: 7\nSHA256: {hashlib.sha256(b'content').hexdigest()}\n"
    )


DIGEST = hashlib.sha256(b"agent").hexdigest()
# what the recipe says of the agent's package, and what is said about it
AGENTS = [
    ({"x86_64": "agent.deb"}, {"x86_64": DIGEST}, "session_manager.package has none for arm64"),
    ({"arm64": "other.deb"}, {"arm64": DIGEST}, "session_manager.package.arm64: there is no "),
    ({"arm64": "agent.deb"}, {"arm64": "0" * 64}, f"agent.deb has the SHA-256 {DIGEST}, not that of"),
]


@pytest.fixture
def beside_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "agent.deb").write_bytes(b"agent")
    monkeypatch.setattr(recipe, "PATH", tmp_path / "recipe.toml")
    return tmp_path


def with_agent(packages: dict[str, str], digests: dict[str, str]) -> Order:
    return replace(ORDER, recipe=replace(ORDER.recipe, session_manager=SessionManager(packages, digests)))


@pytest.mark.parametrize(("packages", "digests", "said"), AGENTS)
def test_agent_is_refused(packages: dict[str, str], digests: dict[str, str], said: str, beside_recipe: Path) -> None:
    """A wrong file is never installed."""
    with pytest.raises(ImageError, match=said):
        agent.fetch(with_agent(packages, digests), beside_recipe)


def test_agent_is_taken(beside_recipe: Path) -> None:
    """It becomes one of the packages that the image depends on."""
    (beside_recipe / "debs").mkdir()

    asked = with_agent({"arm64": "agent.deb"}, {"arm64": DIGEST})

    assert agent.fetch(asked, beside_recipe / "debs") == ("amazon-ssm-agent",)
    assert [path.read_bytes() for path in (beside_recipe / "debs").iterdir()] == [b"agent"]


def test_agent_is_started_and_expected(tmp_path: Path) -> None:
    """Its preset is read before the one that disables the rest, and the check wants what the recipe asks for."""
    order = with_agent({"arm64": "agent.deb"}, {"arm64": DIGEST})
    preset = tmp_path / agent.PRESET
    preset.parent.mkdir(parents=True)

    agent.enable(ORDER, tmp_path)
    assert not preset.exists()
    agent.enable(order, tmp_path)

    assert preset.read_text(encoding="ascii") == "enable amazon-ssm-agent.service\n"
    assert preset.name < verify.PRESET.name
    assert "amazon-ssm-agent.service" in verify.wanted(order.recipe, "arm64").units
    assert "amazon-ssm-agent.service" not in verify.wanted(ORDER.recipe, "arm64").units


def test_no_agent_by_default(tmp_path: Path) -> None:
    """It is an option."""
    assert agent.fetch(ORDER, tmp_path) == ()
    assert list(tmp_path.iterdir()) == []
