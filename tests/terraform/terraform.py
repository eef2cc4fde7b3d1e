"""Terraform: the real program, run on a copy of the module, so that nothing of it is left in the repository.

    example = Terraform.copy(tmp_path, "examples/three-zones", environment=aws("http://127.0.0.1:5000"))
    example.init()
    example.apply(name="egress")
    example.plan(name="egress").changes     # False
    example.outputs()["public_ips"]
    example.destroy(name="egress")

Where a verb fails, TerraformError holds what Terraform said, unless `check=False` asks for the result instead.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.terraform.plugins import MODULE, mirror

TIMEOUT = 300.0  # seconds for one verb
CHANGES = 2  # status of `plan -detailed-exitcode` when there is something to do
LEFT_BEHIND = shutil.ignore_patterns(".terraform", ".terraform.lock.hcl", "*.tfstate", "*.tfstate.*")
_OURS = ("AWS_", "TF_", "DISCRIMINAT_")  # variables that steer this machine's programs, not the tests'
_PROXIES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}


class TerraformError(Exception):
    """A verb failed that had to work; the text holds what Terraform said."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a verb ended."""

    code: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        """Whether Terraform says it succeeded."""
        return self.code == 0

    @property
    def changes(self) -> bool:
        """Whether a plan has something to do."""
        return self.code == CHANGES

    @property
    def complaint(self) -> str:
        """What it said went wrong, on one line: without the frame and the line breaks that Terraform puts in."""
        return " ".join(self.err.replace("│", " ").replace("╷", " ").replace("╵", " ").split())


class Terraform:
    """One configuration in a folder of its own, with its state beside it."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        """Use a folder as it is.

        Args:
            folder: of the configuration; Terraform writes into it.
            environment: more variables, such as those of `aws`; this machine's own AWS_ and TF_ variables never count.
        """
        self.folder = folder
        self.environment = dict(environment or {})

    @classmethod
    def copy(cls, directory: Path, part: str = "", environment: Mapping[str, str] | None = None) -> Self:
        """Return a part of the module, such as "examples/one-zone", in a copy of the whole.

        Args:
            directory: where the copy goes, if there is none in it yet.
        """
        module = directory / "terraform"
        if not module.exists():
            shutil.copytree(MODULE, module, ignore=LEFT_BEHIND)
        return cls(module / part, environment)

    # ---- verbs ----

    def init(self) -> Result:
        """Install providers and modules, from the mirror of this machine where it has one."""
        root = mirror()
        return self.run("init", "-input=false", *([f"-plugin-dir={root}"] if root else []))

    def validate(self) -> Result:
        """Check the configuration by itself."""
        return self.run("validate")

    def plan(self, *options: str, check: bool = True, **variables: object) -> Result:
        """Say what `apply` would do: `changes` of the result tells whether that is anything."""
        arguments = ("-input=false", "-lock=false", "-detailed-exitcode", *options, *_set(variables))
        return self.run("plan", *arguments, check=check, good=(0, CHANGES))

    def planned(self, **variables: object) -> dict[str, Any]:
        """Return a plan as Terraform's JSON (`planned_values`, `resource_changes`, ...)."""
        file = self.folder / "planned.tfplan"
        self.plan(f"-out={file}", **variables)
        return dict(json.loads(self.run("show", "-json", str(file)).out))

    def apply(self, *options: str, check: bool = True, **variables: object) -> Result:
        """Make it so."""
        return self.run("apply", "-input=false", "-auto-approve", *options, *_set(variables), check=check)

    def destroy(self, *options: str, check: bool = True, **variables: object) -> Result:
        """Take it all away again."""
        return self.run("destroy", "-input=false", "-auto-approve", *options, *_set(variables), check=check)

    def test(self, *options: str, check: bool = True) -> Result:
        """Run the *.tftest.hcl files."""
        return self.run("test", *options, check=check)

    def outputs(self) -> dict[str, Any]:
        """Return the values of the outputs."""
        return {name: each["value"] for name, each in json.loads(self.run("output", "-json").out).items()}

    def run(
        self, verb: str, *arguments: str, check: bool = True, good: tuple[int, ...] = (0,), timeout: float = TIMEOUT
    ) -> Result:
        """Run any verb to its end.

        Raises:
            TerraformError: `check` is set and the exit status is not one of `good`.
        """
        done = subprocess.run(
            ["terraform", verb, "-no-color", *arguments],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode not in good:
            raise TerraformError(f"terraform {verb}: exit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr}")
        return Result(done.returncode, done.stdout, done.stderr)

    def _environment(self) -> dict[str, str]:
        ours = {
            key: value for key, value in os.environ.items() if key.lower() not in _PROXIES and not key.startswith(_OURS)
        }
        # How Terraform reaches its registry is this machine's business, unless that file is not there.
        command_line = os.environ.get("TF_CLI_CONFIG_FILE", "")
        if command_line and Path(command_line).exists():
            ours["TF_CLI_CONFIG_FILE"] = command_line
        quiet = {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
        return {**ours, **quiet, **self.environment}


def aws(endpoint: str, region: str) -> dict[str, str]:
    """Return the variables by which the AWS provider finds the emulator, and nothing of this machine's own."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": region,
        "AWS_ACCESS_KEY_ID": "terraform",
        "AWS_SECRET_ACCESS_KEY": "terraform",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_MAX_ATTEMPTS": "2",
    }


def _set(variables: Mapping[str, object]) -> list[str]:
    """Return `-var` options; what is not a text goes as JSON, which is HCL too."""
    return [
        f"-var={name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in variables.items()
    ]
