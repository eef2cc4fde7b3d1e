"""Plugins: where Terraform's providers lie on this machine, so that `terraform init` needs no network.

    python -m tests.terraform.plugins       before the tests: find them, or fetch them; silent when all is well

In this order: the folder that TERRAFORM_PLUGINS names; the one in build/, from an earlier run; a mirror somewhere on
this disk, known by the AWS provider in it; else what `terraform providers mirror` fetches from the registry.

Source: Terraform CLI documentation, "Provider Installation" (layout of a file system mirror), "providers mirror".
"""

import functools
import os
import shutil
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "terraform"
KEPT = ROOT / "build" / "terraform-plugins"  # a mirror, or a link to one
VARIABLE = "TERRAFORM_PLUGINS"

PROVIDER = "terraform-provider-aws_v"  # ROOT/registry/namespace/type/version/platform/this
LEAST = 50_000_000  # octets: it has hundreds of millions, and what a test made to be found has few
DEEP = 6  # folders between the file and the root of its mirror
SEARCH = 30.0  # seconds at most
ELSEWHERE = {"/proc", "/sys", "/dev", "/run"}
FETCH = 600.0  # seconds at most


def obstacle() -> str:
    """Return why Terraform cannot run here, or the empty text."""
    if shutil.which("terraform") is None:
        return "there is no terraform in PATH: install Terraform 1.9 or newer, it is no Debian package"
    return ""


@functools.cache
def mirror() -> Path | None:
    """Return the root of a mirror with the AWS provider in it, for `-plugin-dir`; None to leave it to Terraform."""
    if VARIABLE in os.environ:
        named = os.environ[VARIABLE]
        return Path(named).resolve() if named else None
    if KEPT.is_dir():
        return KEPT.resolve()
    return search(Path("/"))


def search(top: Path, limit: float = SEARCH, least: int = LEAST) -> Path | None:
    """Return the root of the mirror nearest to a folder, or None after so many seconds.

    Args:
        least: octets of the provider.
    """
    end = time.monotonic() + limit
    folders = deque([os.fspath(top)])
    while folders and time.monotonic() < end:
        folder = folders.popleft()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith(PROVIDER) and entry.is_file(follow_symlinks=False):
                        if entry.stat(follow_symlinks=False).st_size >= least:
                            return Path(entry.path).parents[DEEP - 1]
                    # .terraform: what some `init` has left; a mirror of one configuration, and soon gone
                    if entry.is_dir(follow_symlinks=False) and entry.name != ".terraform":
                        if entry.path not in ELSEWHERE:
                            folders.append(entry.path)
        except OSError:
            continue
    return None


def provide() -> str:
    """Make build/terraform-plugins lead to a mirror; return what went wrong, or the empty text."""
    if told := obstacle():
        return told
    if VARIABLE in os.environ or KEPT.is_dir():
        return ""
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.unlink(missing_ok=True)  # a link whose mirror is gone
    found = mirror()
    if found is not None:
        KEPT.symlink_to(found)
        return ""
    print("fetching Terraform's AWS provider into build/terraform-plugins", flush=True)
    fetched = KEPT.with_suffix(".new")
    shutil.rmtree(fetched, ignore_errors=True)
    done = subprocess.run(
        ["terraform", f"-chdir={MODULE}", "providers", "mirror", str(fetched)],
        capture_output=True,
        text=True,
        timeout=FETCH,
        check=False,
    )
    if done.returncode != 0:
        return f"terraform cannot fetch the AWS provider: {done.stderr.strip()}"
    fetched.rename(KEPT)
    return ""


if __name__ == "__main__":
    if complaint := provide():
        # Not the end: the tests are skipped, or fail in CI, with the same words.
        sys.stderr.write(f"terraform: {complaint}; the tests in tests/terraform cannot run\n")
