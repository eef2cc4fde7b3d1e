"""How much work a call is, in lines of source: the same on every machine, and whoever else is busy on it."""

import sys
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import Any, NamedTuple


class Work(NamedTuple):
    """`lines` of some modules that were executed, and `calls` of one of their functions."""

    lines: int
    calls: int


def work_of(call: Callable[[], object], modules: tuple[ModuleType, ...], function: str) -> Work:
    """Return the work of a call. `function`: by its qualified name; it must be no generator."""
    files = {module.__file__ for module in modules}
    assert all(file and file.endswith(".py") for file in files)
    lines = calls = 0

    def enter(frame: FrameType, _event: str, _: object) -> Any:
        nonlocal calls
        if frame.f_code.co_filename not in files:
            return None
        calls += frame.f_code.co_qualname == function
        return step

    def step(_frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return step

    former = sys.gettrace()
    sys.settrace(enter)
    try:
        call()
    finally:
        sys.settrace(former)
    return Work(lines, calls)
