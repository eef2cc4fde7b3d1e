"""Everything that is promised of an image, each promise with the check that proves it."""

from image.promises.access import ACCESS
from image.promises.content import CONTENT
from image.promises.disk import DISK
from image.promises.promise import Finding, Promise
from image.promises.services import SERVICES

PROMISES: tuple[Promise, ...] = (*SERVICES, *ACCESS, *DISK, *CONTENT)

__all__ = ["PROMISES", "Finding", "Promise"]
