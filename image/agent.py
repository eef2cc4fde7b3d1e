"""The agent of Session Manager, for recipes that ask for it."""

import hashlib
import shutil
from pathlib import Path

from image import recipe
from image.errors import ImageError
from image.lock import AGENT
from image.order import Order

PRESET = Path(f"usr/lib/systemd/system-preset/00-{AGENT}.preset")  # read before the one that disables the rest


def fetch(order: Order, target: Path) -> tuple[str, ...]:
    """Copy the agent's package, if the recipe has one, and return what the image then depends on too."""
    settings = order.recipe.session_manager
    if not settings.package:
        return ()
    if order.arch.name not in settings.package:
        raise ImageError(f"session_manager.package has none for {order.arch.name}: add it, or make it empty")
    path = recipe.PATH.parent / settings.package[order.arch.name]
    if not path.is_file():
        raise ImageError(f"session_manager.package.{order.arch.name}: there is no {path}")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != settings.sha256[order.arch.name]:
        raise ImageError(f"{path.name} has the SHA-256 {found}, not that of session_manager.sha256.{order.arch.name}")
    shutil.copy(path, target / f"{AGENT}_0_{order.arch.debian}.deb")
    return (AGENT,)


def enable(order: Order, root: Path) -> None:
    """Have the agent started at boot, if it is there."""
    if order.recipe.session_manager.package:
        (root / PRESET).write_text(f"enable {AGENT}.service\n", encoding="ascii")
