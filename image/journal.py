"""The journal of an upload: which blocks a snapshot holds, kept beside the image until the snapshot is complete.

    journal = Journal(path, sha256)
    journal.snapshot, journal.attempt, journal.blocks
    journal.begin("snap-...", attempt=0)
    journal.note(7, digest)

A first line names the image, by its SHA-256, and the snapshot; each further one is a block that EBS has confirmed. What
an interrupt has cut short in the last line is a block to be put once more. EBS lists the blocks of complete snapshots
only, so nobody else can tell.
"""

import json
import threading
from pathlib import Path
from typing import IO

from image.errors import ImageError


def beside(disk: Path, account: str, region: str) -> Path:
    """Return where the journal of an upload lies: each account and region has its own."""
    return disk.with_name(f"{disk.name}.upload-{account}-{region}")


class Journal:
    """What is known of an upload; `snapshot` is empty when none has begun. May be used by several threads at once."""

    def __init__(self, path: Path, sha256: str) -> None:
        """Read what there is.

        Args:
            path: of the journal, which need not exist.
            sha256: of the image; a journal of another one counts for nothing.
        """
        self.path = path
        self.sha256 = sha256
        self.snapshot = ""
        self.attempt = 0
        self.blocks: dict[int, str] = {}
        self._lock = threading.Lock()
        self._file: IO[str] | None = None
        self._torn = False  # it ends in half a line
        self._read()

    def begin(self, snapshot: str, attempt: int) -> None:
        """Begin anew, with a snapshot that holds nothing; an empty one says which attempts have come to nothing.

        Raises:
            ImageError: the journal cannot be written.
        """
        self.close()
        self.snapshot, self.attempt, self.blocks, self._torn = snapshot, attempt, {}, False
        header = {"sha256": self.sha256, "snapshot": snapshot, "attempt": attempt}
        try:
            self.path.write_text(json.dumps(header) + "\n", encoding="utf-8")
        except OSError as fault:
            raise ImageError(f"{self.path}: {fault.strerror}: an upload keeps its journal beside the image") from None

    def note(self, index: int, digest: str) -> None:
        """Note that the snapshot holds a block."""
        line = json.dumps([index, digest]) + "\n"
        with self._lock:
            if self._file is None:
                self._file = self.path.open("a", encoding="utf-8")
                self._file.write("\n" if self._torn else "")
                self._torn = False
            self._file.write(line)
            self._file.flush()
            self.blocks[index] = digest

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def forget(self) -> None:
        """Remove the journal: the snapshot is complete, or there is none."""
        self.close()
        self.path.unlink(missing_ok=True)
        self.snapshot, self.blocks = "", {}

    def _read(self) -> None:
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").split("\n")
        except FileNotFoundError:
            return
        except OSError as fault:
            raise ImageError(f"{self.path}: {fault.strerror}: an upload keeps its journal beside the image") from None
        try:
            header = json.loads(lines[0])
            if header["sha256"] != self.sha256:
                return
            self.snapshot, self.attempt = str(header["snapshot"]), int(header["attempt"])
        except (ValueError, TypeError, KeyError):
            return  # cut short at its very beginning: nothing is lost but the start of a snapshot, which is idempotent
        for line in lines[1:-1]:  # what follows the last line break is empty, or was cut short
            try:
                index, digest = json.loads(line)
            except (ValueError, TypeError):
                continue
            self.blocks[index] = digest
        self._torn = bool(lines[-1])
