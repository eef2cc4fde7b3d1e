"""From disks to AMIs in every region that is asked for, and the manifest that names them.

    Publisher(connect(wishes), wishes, say=print).publish(paths)

The order is what keeps a release whole. First what may refuse it: arguments, files, the key, the manifest, the account,
the promises of the image. Then what nobody sees: snapshots, images, copies. Then, where an image is there and is what
it should be, what others see. The manifest comes last and names only what is complete.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import boto3
import botocore.exceptions

from image import provenance, release, signature, verify
from image.account import require_account
from image.ami import Ami, Amis, describe, labels
from image.baked import Baked, open_baked
from image.cloud import Interrupted, Patience, Region
from image.ebs import Say, Uploader, survey
from image.errors import ImageError
from image.journal import Journal, beside
from image.order import ROOT
from image.publish import Wishes
from image.rehearsal import rehearse
from image.release import Image

AT_ONCE: Final = 16  # copies that are begun or waited for
OLDEST: Final = (1, 35)  # boto3 that knows all the requests
AGAIN: Final = "run the same command again: it does what is missing"

Place = tuple[str, str]  # a region, and the name of an image


def connect(wishes: Wishes) -> Any:  # noqa: ANN401 -- boto3 has no types
    """Return a session with AWS in the region that is asked for.

    Raises:
        ImageError: no region is named, or AWS's own settings are wrong.
    """
    if tuple(int(part) for part in boto3.__version__.split(".")[:2]) < OLDEST:
        raise ImageError(
            f"boto3 {boto3.__version__} is too old: run .venv/bin/python -m image publish, after make setup"
        )
    region = wishes.region or os.environ.get("AWS_REGION")  # which boto3 does not look at
    try:
        session = boto3.Session(region_name=region)
    except botocore.exceptions.BotoCoreError as fault:
        raise ImageError(
            f"AWS's settings on this machine are wrong ({fault}): mend them, or unset AWS_PROFILE"
        ) from None
    if not session.region_name:
        raise ImageError("no region is named: give one to --region, such as eu-west-1")
    return session


def broken_promises(path: Path) -> list[str]:
    """Return what the image promises and does not keep."""
    return [f"{finding.promise}: {finding.text}" for finding in verify.check(path)]


class Publisher:
    """One run."""

    def __init__(
        self,
        session: Any,  # noqa: ANN401 -- boto3 has no types
        wishes: Wishes,
        *,
        say: Say,
        patience: Patience | None = None,
        check: Callable[[Path], list[str]] = broken_promises,
        repository: Path = ROOT,
    ) -> None:
        """Prepare; nothing is asked of AWS yet.

        Args:
            session: of boto3; its region is home, where snapshots are written.
            check: says which promises an image breaks.
            repository: a clone that has the images' commits.
        """
        self._wishes = wishes
        self._say = say
        self._check = check
        self._repository = repository
        self._patience = patience or Patience()
        names = dict.fromkeys([str(session.region_name), *wishes.copy_to])
        self._regions = {name: Region(session, name, self._patience) for name in names}
        self._home, *self._elsewhere = self._regions.values()
        self._account = ""
        self._faults: dict[Place, str] = {}

    def publish(self, paths: Sequence[Path]) -> int:
        """Publish images, and return the exit code: 0, or 1 if something is missing, which is told.

        Raises:
            ImageError: refused; the text says what is left, if anything is.
            Interrupted: by Ctrl-C.
        """
        try:
            return self._publish([open_baked(path) for path in paths])
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; {AGAIN}") from None
        finally:
            self._patience.stop.set()

    def _publish(self, baked: Sequence[Baked]) -> int:
        self._require_one_release(baked)
        statements = {each.architecture: provenance.state(each, self._repository) for each in baked}
        path = self._wishes.manifest or baked[0].path.with_name(f"{baked[0].product}-{baked[0].version}.manifest.json")
        before = self._manifest_before(path)
        self._account = require_account(self._regions, self._wishes, self._say)
        about = {"name": baked[0].product, "version": baked[0].version, "account": self._account}
        release.require(before, about, {each.architecture: each.sha256 for each in baked})
        images = [self._measure(each) for each in baked]
        if self._wishes.dry_run:
            rehearse(images, self._regions, self._wishes, account=self._account, manifest=path, say=self._say)
            return 0

        made: dict[Place, Ami] = {}
        for image in images:
            made[self._home.name, image.baked.name] = self._at_home(image)
        jobs = [(region, image) for region in self._elsewhere for image in images]
        made |= self._everywhere(jobs, lambda region, image: self._copy(region, image.baked, made))
        there = [
            (self._regions[region], image) for region, name in made for image in images if image.baked.name == name
        ]
        seen = self._everywhere(there, lambda region, image: self._show(region, image.baked, made))

        entries, now = {}, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        for image in images:
            amis = {region: ami for (region, name), ami in seen.items() if name == image.baked.name}
            if amis:
                architecture = image.baked.architecture
                entries[architecture] = release.entry(image, amis, statements[architecture], now)
        self._write(path, before, entries, baked[0])
        return self._conclude(seen)

    # ---- what may refuse ----

    def _require_one_release(self, baked: Sequence[Baked]) -> None:
        if len({(each.product, each.version) for each in baked}) > 1:
            raise ImageError("the images are of several versions: publish one version at a time")
        if len({each.architecture for each in baked}) < len(baked):
            raise ImageError("two images are of the same architecture: name each once")
        wishes = self._wishes
        for each in baked:
            if each.is_dirty and (wishes.for_others or wishes.sign_key):
                raise ImageError(
                    f"{each.path} was baked from changes that no commit holds: commit them and bake it again; or"
                    " publish it for yourself alone, without --public, --share and --sign-key"
                )

    def _manifest_before(self, path: Path) -> release.Manifest:
        """Return what the manifest says already; one that gets a signature says nothing that was not signed."""
        before, key = release.read(path), self._wishes.sign_key
        signed = path.with_name(path.name + release.SIGNATURE)
        if key is None:
            if signed.exists():
                raise ImageError(f"{path} is signed: give the key to --sign-key, or another file to --manifest")
            return before
        signature.sign(key, b"")  # now, and not after an hour of copying
        if not before:
            return before
        if not signed.exists():
            raise ImageError(
                f"{path} is not signed: move it away and name all its images and regions again, so that what is signed"
                " was looked at; or leave out --sign-key"
            )
        if not signature.verify(key, path.read_bytes(), signed.read_bytes()):
            raise ImageError(
                f"{path} was changed after it was signed, or signed by another key: move it away, or mend it"
            )
        return before

    def _measure(self, baked: Baked) -> Image:
        """Return an image with its blocks, if it is the one that was baked and keeps its promises."""
        self._say(f"{baked.path}: reading {baked.path.stat().st_size >> 20} MiB")
        disk = survey(baked.path)
        if disk.sha256 != baked.sha256:
            raise ImageError(
                f"{baked.path} is not what was baked, its SHA-256 is {disk.sha256}: bake it again: make image"
            )
        self._say(f"{baked.path}: checking its promises")
        broken = self._check(baked.path)
        if broken:
            raise ImageError(
                f"{baked.path} breaks its promises, and is not published:\n"
                + "\n".join(f"  {each}" for each in broken)
                + f"\nsee python -m image check {baked.path}"
            )
        return Image(baked, disk)

    # ---- what nobody sees ----

    def _at_home(self, image: Image) -> Ami:
        amis = Amis(self._home, self._say)
        ami = amis.find(image.baked)
        if ami:
            self._say(f"{self._home.name}: {image.baked.name} is {ami} already")
        else:
            journal = Journal(beside(image.disk.path, self._account, self._home.name), image.disk.sha256)
            snapshot = Uploader(self._home, self._say).upload(
                image.disk, labels(image.baked), describe(image.baked), journal
            )
            ami = amis.register(image.baked, image.disk, snapshot)
        return amis.require(ami, image.baked, clear=self._wishes.for_others)

    def _copy(self, region: Region, baked: Baked, made: Mapping[Place, Ami]) -> Ami:
        amis = Amis(region, self._say)
        ami = amis.find(baked)
        if ami:
            self._say(f"{region.name}: {baked.name} is {ami} already")
        else:
            ami = amis.copy(baked, made[self._home.name, baked.name])
        return amis.require(ami, baked, clear=self._wishes.for_others)

    # ---- what others see ----

    def _show(self, region: Region, baked: Baked, made: Mapping[Place, Ami]) -> Ami:
        amis, ami, wishes = Amis(region, self._say), made[region.name, baked.name], self._wishes
        if wishes.deprecate_after:
            # From home's image, so that it is the same time everywhere, and in a further run too.
            amis.deprecate(ami, made[self._home.name, baked.name].created + timedelta(days=wishes.deprecate_after))
        amis.share(ami, wishes.share, public=wishes.public)
        amis.set_parameter(wishes.parameter_of(baked), ami, baked)
        return ami

    def _everywhere(self, jobs: Sequence[tuple[Region, Image]], do: Callable[[Region, Image], Ami]) -> dict[Place, Ami]:
        """Return what was done in each place; what was not is kept as a fault, and stops nothing else."""
        done: dict[Place, Ami] = {}
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="region") as pool:
            futures: dict[Future[Ami], Place] = {
                pool.submit(do, region, image): (region.name, image.baked.name) for region, image in jobs
            }
            try:
                for future, place in futures.items():
                    try:
                        done[place] = future.result()
                    except ImageError as fault:
                        self._faults[place] = str(fault)
                        self._say(f"{place[0]}: {place[1]} failed: {fault}")
            except BaseException:
                self._patience.stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        return done

    def _write(
        self, path: Path, before: release.Manifest, entries: Mapping[str, release.Manifest], baked: Baked
    ) -> None:
        after = release.merge(before, entries, product=baked.product, version=baked.version, account=self._account)
        octets, key = release.render(after), self._wishes.sign_key
        if not after["images"] or (path.exists() and path.read_bytes() == octets and key is None):
            return
        release.write(path, octets, signature.sign(key, octets) if key else b"")
        self._say(f"{path}: written, {f'signed by {key}' if key else 'not signed: give a key to --sign-key'}")

    def _conclude(self, seen: Mapping[Place, Ami]) -> int:
        for (region, name), ami in sorted(seen.items()):
            self._say(f"published: {name} in {region} is {ami.id}")
        for (region, name), fault in sorted(self._faults.items()):
            self._say(f"missing: {name} in {region}: {fault}")
        if self._faults:
            self._say(AGAIN)
        return 1 if self._faults else 0
