"""The code is laid out as designed: which module may import which, what the core never touches, and sizes.

The syntax trees are read; nothing is imported, so that an import hidden in a function counts too.
"""

import ast
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1] / "appliance"
MODULES = {path.relative_to(ROOT.parent).with_suffix("").as_posix(): path for path in sorted(ROOT.rglob("*.py"))}

# What each part of the package may import of the others. A part is a folder or a module directly
# under `appliance`. Foundations may be imported by all; a folder may import within itself unless it
# is `edge`. A part that is missing here fails the test: give it its place.
FOUNDATIONS = {"__init__", "address", "errors", "reason"}
ENGINE_PARTS = {
    "closing",
    "command",
    "event",
    "flow",
    "gate",
    "holding",
    "inspection",
    "judge",
    "limits",
    "oddity",
    "origin",
    "plaintext",
    "recall",
    "revocation",
    "standing",
    "syn_gate",
    "waiting",
}
# Of `replay`.
REPLAY_PARTS = {"directory", "overheard", "player", "staging", "tracking"}
# Of `check`, `explain` and `suggest`.
ADVICE_PARTS = {
    "account",
    "explanation",
    "family",
    "lint",
    "near_miss",
    "offer",
    "packing",
    "period",
    "preferred",
    "provenance",
    "question",
    "report",
    "sighting",
    "suggestion",
    "suspicion",
    "usage",
}
APP_PARTS = {
    "about",
    "chronicle",
    "counters",
    "crew",
    "dataplane",
    "membership",
    "pace",
    "preference_reader",
    "proving",
    "rest",
    "vitals",
}
MAY_IMPORT = {
    "__init__": set(),
    "errors": set(),
    "reason": set(),
    "address": {"errors"},
    "policy": {"policy"},
    "wire": {"wire"},
    **{part: {"policy", "wire"} | ENGINE_PARTS for part in ENGINE_PARTS},
    "engine": {"policy", "wire"} | ENGINE_PARTS,
    "messages": {"policy", "limits"},
    "revoker": {"chronicle", "edge", "policy", "revocation", "settings", "standing"},
    "metrics": {"event"},
    "settings": {"policy"},
    "arguments": {"policy"},
    "manual": set(),
    "selftest": {"selftest", "policy"},
    "aws": set(),  # how every edge to AWS asks
    "edge": {"policy", "wire", "event", "aws", "selftest"},
    "worker": {"engine", "edge", "policy", "wire", "messages", "settings"} | ENGINE_PARTS,
    **{
        part: {"edge", "event", "limits", "messages", "metrics", "policy", "settings"} | APP_PARTS for part in APP_PARTS
    },
    "reading": {"edge", "policy"},  # what `app` and `sources` have in common of composing edges
    "pruner": {"chronicle", "dataplane", "edge", "policy", "revoker", "settings", "standing"},
    "app": {"worker", "edge", "policy", "wire", "event", "limits", "messages", "metrics", "settings"}
    | {"pruner", "reading", "revoker"}
    | APP_PARTS,
    **{part: {"policy", "standing"} | ADVICE_PARTS for part in ADVICE_PARTS},
    "trial": {"edge", "limits", "messages", "policy"},  # composition root of a worker in a sandbox
    "probing": {"edge", "selftest"},  # composition root of `selftest`, and of the same in a sandbox:
    "enclosed": {"edge", "messages", "policy", "probing", "selftest", "trial"},
    "directory": {"policy"},
    "staging": {"policy", "tracking"},
    "tracking": {"standing", "wire"},
    "overheard": {"wire"} | ENGINE_PARTS,
    "player": {"engine", "policy", "wire"} | ENGINE_PARTS | REPLAY_PARTS,
    # Composition root of `replay`.
    "replay": {"edge", "policy"} | REPLAY_PARTS,
    "saved": {"directory", "policy"},
    # Composition root of `check` and `explain`, as `app` is of `run`; reads files for `replay` too.
    "sources": {"directory", "edge", "policy", "reading", "saved", "settings"} | ADVICE_PARTS,
    "order": {"arguments", "policy"} | ADVICE_PARTS,  # of `suggest`: its arguments
    "page": {"policy"} | ADVICE_PARTS,
    "survey": {"edge", "order", "page", "policy", "sources"} | ADVICE_PARTS,  # composition root of `suggest`
    # `run` starts its workers through a hidden verb; `prepare` is a function of an edge.
    "cli": {
        "about",
        "app",
        "arguments",
        "directory",
        "edge",
        "enclosed",
        "manual",
        "order",
        "policy",
        "probing",
        "replay",
        "selftest",
        "settings",
        "sources",
        "survey",
        "trial",
        "worker",
    }
    | ADVICE_PARTS,
    "__main__": {"cli"},
}

PURE = (
    FOUNDATIONS
    | ENGINE_PARTS
    | ADVICE_PARTS
    | REPLAY_PARTS
    | {"engine", "manual", "messages", "metrics", "pace", "policy", "selftest", "settings", "wire"}
)

# Modules that read the clock, roll dice, or touch anything outside the process.
EFFECTS = {
    "asyncio",
    "concurrent",
    "fcntl",
    "glob",
    "http",
    "io",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "queue",
    "random",
    "secrets",
    "select",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "socketserver",
    "ssl",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "urllib",
}
EFFECT_BUILTINS = {"open", "print", "input", "exec", "eval", "breakpoint"}
CLOCK_METHODS = {"now", "today", "utcnow"}  # of date and datetime

LONGEST = 400  # lines; at this size a module holds two nouns
VAGUE = {"util", "utils", "helper", "helpers", "common", "misc"}


class Import(NamedTuple):
    module: str  # as in MODULES for ours, dotted for others
    line: int


def part_of(module: str) -> str:
    """Return the folder or the module under `appliance` that a module belongs to."""
    return module.split("/")[1]


def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(), MODULES[module])


def imports_of(module: str) -> Iterator[Import]:
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(ours_or(alias.name), node.lineno)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: relative import"
            for alias in node.names:  # `from appliance.wire import tls` imports a module
                inner = ours_or(f"{node.module}.{alias.name}")
                yield Import(inner if inner in MODULES else ours_or(str(node.module)), node.lineno)


def ours_or(dotted: str) -> str:
    """Return a module's name as in MODULES; that of somebody else's stays as it is."""
    if dotted.partition(".")[0] != "appliance":
        return dotted
    path = dotted.replace(".", "/")
    return path if path in MODULES else f"{path}/__init__"


def our_imports_of(module: str) -> Iterator[Import]:
    return (found for found in imports_of(module) if found.module.split("/")[0] == "appliance" and "/" in found.module)


every_module = pytest.mark.parametrize("module", MODULES)
pure_module = pytest.mark.parametrize("module", [module for module in MODULES if part_of(module) in PURE])


@every_module
def test_imports_go_in_the_designed_direction(module: str) -> None:
    """A module imports only the parts that lie below its own."""
    part = part_of(module)
    assert part in MAY_IMPORT, f"{module} has no place in MAY_IMPORT"
    allowed = MAY_IMPORT[part] | (FOUNDATIONS if part not in FOUNDATIONS else set())

    if module == "appliance/edge/resolver":
        allowed = allowed | {"edge"}  # its one look-up is a module of its own, `edge/stub`

    wrong = [
        f"line {found.line}: {found.module}" for found in our_imports_of(module) if part_of(found.module) not in allowed
    ]

    assert wrong == []


def test_imports_have_no_cycle() -> None:
    """There is an order in which the package can be read once, bottom to top."""
    graph = {module: {found.module for found in our_imports_of(module)} - {module} for module in MODULES}

    graphlib.TopologicalSorter(graph).prepare()


@pure_module
def test_the_core_has_no_effects(module: str) -> None:
    """The core imports nothing that reads a clock, rolls dice or leaves the process, and nothing of a third party."""
    wrong = []
    for found in imports_of(module):
        top = found.module.replace("/", ".").partition(".")[0]
        if top in EFFECTS or top not in sys.stdlib_module_names | {"appliance"}:
            wrong.append(f"line {found.line}: {found.module}")

    assert wrong == []


@pure_module
def test_the_core_opens_nothing_and_reads_no_clock(module: str) -> None:
    """Time is an argument of the core, and effects are what it returns."""
    wrong = []
    for node in ast.walk(tree_of(module)):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in EFFECT_BUILTINS:
                wrong.append(f"line {node.lineno}: {name}()")
            case ast.Call(func=ast.Attribute(attr=name), args=[]) if name in CLOCK_METHODS:
                wrong.append(f"line {node.lineno}: .{name}()")

    assert wrong == []


@every_module
def test_any_stays_at_the_edges(module: str) -> None:
    """Only edges speak to what has no types."""
    if part_of(module) != "edge":
        names = [node.id for node in ast.walk(tree_of(module)) if isinstance(node, ast.Name)]

        assert "Any" not in names


@every_module
def test_only_the_command_line_reads_its_arguments(module: str) -> None:
    """`sys.argv` is read in cli.py and nowhere else."""
    if part_of(module) != "cli":
        tree = tree_of(module)
        attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}

        assert "argv" not in attributes | names


@every_module
def test_a_module_is_one_noun(module: str) -> None:
    """No module is longer than a reader's patience, none has a name that says nothing, none lies deep."""
    path = MODULES[module]

    assert len(path.read_text().splitlines()) <= LONGEST
    assert path.stem not in VAGUE
    assert len(path.relative_to(ROOT).parts) <= 2


@every_module
def test_a_module_says_what_it_is(module: str) -> None:
    """Each module that holds code opens with a docstring."""
    tree = tree_of(module)

    assert not tree.body or ast.get_docstring(tree)
