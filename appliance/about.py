"""What runs here: the program, how its engine was built, Python, the kernel, and the image it all came in."""

import functools
import os
import platform
from dataclasses import asdict

from appliance import __version__
from appliance.edge import manifest, system
from appliance.edge.suffix_list import read_suffixes
from appliance.errors import InputError


def about_document() -> dict[str, object]:
    """Return it for programs, as JSON values. `image`: the manifest, or null; `image_failure`: why there is none."""
    found, failure = _image()
    return {
        "name": "discriminat",
        "version": __version__,
        "engine": system.engine_build(),
        "python": platform.python_version(),
        "kernel": os.uname().release,
        "public_suffix_list": read_suffixes().version,
        "image": None if found is None else asdict(found),
        "image_failure": failure,
    }


def render_about() -> str:
    """Return it for people, a line for each part."""
    found, failure = _image()
    if found is None:
        image = failure or f"none: there is no {manifest.PATH}"
    else:
        image = (
            f"{found.name} {found.version} for {found.architecture}, commit {found.commit},"
            f" Debian {found.debian} ({found.suite}) with {len(found.packages)} packages, kernel {found.kernel}"
        )
    lines = (
        f"discriminat {__version__}",
        f"engine: {system.engine_build()}",
        f"Python: {platform.python_version()}",
        f"kernel: {os.uname().release}",
        f"Public Suffix List: {read_suffixes().version or 'none'}",
        f"image: {image}",
    )
    return "\n".join(lines) + "\n"


def program() -> str:
    """Return name and version for the log, with the image's commit where there is an image."""
    image = f", image of commit {commit()}" if commit() else ""
    suffixes = f"Public Suffix List of {read_suffixes().version}" if read_suffixes() else "no Public Suffix List"
    return f"discriminat {__version__}, engine {system.engine_build()}{image}, {suffixes}"


@functools.cache
def commit() -> str:
    """Return the commit that the image was made from; empty outside of an image."""
    found, _ = _image()
    return "" if found is None else found.commit


def _image() -> tuple[manifest.Manifest | None, str]:
    """Return the manifest, or why it cannot be read: a program with a broken one is as good as ever."""
    try:
        return manifest.read_manifest(manifest.PATH), ""
    except InputError as fault:
        return None, f"unknown: {fault.message} ({fault.hint})"
