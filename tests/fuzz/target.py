"""One harness under atheris, until libFuzzer stops: `python -m tests.fuzz.target NAME [OPTION...] [CORPUS...]`.

The appliance is instrumented while it is imported, so it must be the interpreted source.
"""

import sys

import atheris

from tests.fuzz import catalogue


def main() -> None:
    name, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=["appliance"]):
        harness = catalogue.load(name)
    compiled = [
        module.__name__
        for module in list(sys.modules.values())
        if module.__name__.split(".")[0] == "appliance" and not (module.__file__ or "").endswith(".py")
    ]
    if compiled:
        sys.exit(f"no coverage of {', '.join(compiled)}: that is not the interpreted source")

    def check(octets: bytes) -> None:
        harness.check(octets)

    atheris.Setup([sys.argv[0], *arguments], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
