"""The page: a suggestion as one HTML file that needs nothing else, neither a script nor the network.

Jinja escapes whatever is put in, and the page's own policy (CSP) lets nothing run or load, should it ever not.
"""

import base64
import errno
import hashlib
import os
from pathlib import Path

import jinja2

from appliance.errors import InputError
from appliance.offer import (
    LOOK,
    SOURCE,
    about_crowd,
    about_family,
    by_reason,
    examples,
    heading,
    minute,
    notes,
    render_terraform,
    sums,
)
from appliance.packing import write_entry
from appliance.suggestion import Suggestion

TEMPLATE = "suggestion.html.j2"
STYLE = "suggestion.css"


def render_page(suggestion: Suggestion, source: str = SOURCE) -> str:
    """Return the page. `source`: of the Terraform module."""
    loader = jinja2.PackageLoader("appliance", "templates")
    environment = jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    style = loader.get_source(environment, STYLE)[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template(TEMPLATE).render(
        suggestion=suggestion,
        sums=sums(suggestion),
        groups=[group for group in suggestion.groups if group.offered],
        reasons=by_reason(suggestion),
        notes=notes(suggestion),
        look=LOOK,
        terraform=render_terraform(suggestion, source),
        style=style,
        style_digest=digest,
        about_crowd=about_crowd,
        about_family=about_family,
        examples=examples,
        heading=heading,
        minute=minute,
        write_entry=write_entry,
    )


def find_place(path: Path) -> None:
    """Look whether there is room for a page: what it is made of may take long to read.

    Raises:
        InputError: it cannot be written there.
    """
    missing = not path.parent.is_dir()
    if missing or path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        fault = errno.ENOENT if missing else errno.EISDIR if path.is_dir() else errno.EACCES
        raise InputError(f"{path}: {os.strerror(fault)}", hint="--html wants a file to write")


def write_page(path: Path, page: str) -> None:
    """Write the page to a file.

    Raises:
        InputError: it cannot be written there.
    """
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as fault:
        raise InputError(f"{path}: {fault.strerror}", hint="--html wants a file to write") from fault
