"""What a function says when it refuses its argument, for tables of refusals."""

from collections.abc import Callable, Iterable

import pytest

from appliance.errors import Malformed


def refusal(function: Callable[..., object], *arguments: object, **named: object) -> tuple[str, str]:
    """Return the code and message with which the function refuses these arguments."""
    with pytest.raises(Malformed) as caught:
        function(*arguments, **named)
    return caught.value.code, caught.value.message


def ids(table: Iterable[tuple[object, ...]]) -> list[str]:
    """Return the first column of a table: it says what each row is about."""
    return [str(row[0]) for row in table]
