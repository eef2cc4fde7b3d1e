"""Where an image comes from, as an in-toto statement with SLSA's predicate: which disk, by whom, from what.

The recipe and the lock are those of the image's commit, read from Git and not from the working tree, which may have
gone on since. It is the word of who publishes, and as good as the signature of the manifest that it stands in.

Source: in-toto Attestation Framework, Statement v1; SLSA v1.0, "Provenance".
"""

import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from image.baked import Baked
from image.errors import ImageError
from image.order import ROOT

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://slsa.dev/provenance/v1"
BUILD_TYPE: Final = "urn:discriminat:image:make-image:v1"  # `make image ARCH=…` in a clone at the commit
BUILDER: Final = "urn:discriminat:image:publisher"  # whoever signs: it baked the image, or vouches for who did


def state(baked: Baked, root: Path = ROOT) -> dict[str, Any]:
    """Return the statement about an image.

    Args:
        root: of the repository.

    Raises:
        ImageError: the repository does not have the image's commit.
    """
    commit = baked.commit.removesuffix("-dirty")
    source: dict[str, Any] = {"name": baked.product, "digest": {"gitCommit": commit}}
    files = []
    if baked.is_dirty:
        source["annotations"] = {"dirty": True}  # what was changed, nobody knows any more
    else:
        made_of = ("image/recipe.toml", f"image/lock/{baked.architecture}.txt")
        files = [{"name": name, "digest": {"sha256": _sha256(root, commit, name)}} for name in made_of]
    epoch = baked.report.get("source_date_epoch")
    internal: Mapping[str, Any] = {} if epoch is None else {"SOURCE_DATE_EPOCH": epoch}
    return {
        "_type": STATEMENT,
        "subject": [{"name": baked.path.name, "digest": {"sha256": baked.sha256}}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"architecture": baked.architecture, "version": baked.version},
                "internalParameters": internal,
                "resolvedDependencies": [
                    source,
                    *files,
                    {"name": baked.sbom.name, "digest": {"sha256": baked.sbom_sha256}},
                ],
            },
            "runDetails": {"builder": {"id": BUILDER}},
        },
    }


def _sha256(root: Path, commit: str, name: str) -> str:
    """Return the SHA-256 of a file of the repository, as of a commit."""
    # A clone of another user is only read here, which git would not do for root without being told.
    command = ["git", "-c", f"safe.directory={root}", "-C", str(root), "cat-file", "blob", f"{commit}:{name}"]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        raise ImageError("git is missing, by which the provenance is found: install it") from None
    if done.returncode:
        raise ImageError(
            f"this clone does not have {name} of commit {commit}, from which the image was baked: fetch it, or"
            " publish from the clone that baked it"
        )
    return hashlib.sha256(done.stdout).hexdigest()
