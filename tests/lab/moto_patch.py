"""Patch: how a method of moto's is changed, by the modules that close its gaps."""

import functools
from collections.abc import Callable
from typing import Any


def wrap(owner: Any, name: str) -> Callable[[Callable[..., Any]], None]:
    """Replace a method by `wrapper(original, self, ...)`."""

    def install(wrapper: Callable[..., Any]) -> None:
        original = getattr(owner, name)

        @functools.wraps(original)
        def method(self: Any, *arguments: Any, **options: Any) -> Any:
            return wrapper(original, self, *arguments, **options)

        setattr(owner, name, method)

    return install
