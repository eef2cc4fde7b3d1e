"""What a machine under test is told beyond what EC2 tells it: systemd's credentials, in its SMBIOS tables.

The disk stays as it is. systemd reads them before its first unit: a drop-in that names the emulator's endpoints to the
engine, and a unit that gives root's command channel to the second serial port. On EC2 nobody but AWS writes SMBIOS.

Source: systemd.system-credentials(7), systemd-debug-generator(8).
"""

import base64
from collections.abc import Mapping
from pathlib import Path

from tests.lab.fabric import API

TAG = "boot-test"
CHANNEL_SCRIPT = Path(__file__).with_name("channel_guest.py")

CHANNEL_UNIT = """\
[Unit]
Description=Command channel of the boot test
DefaultDependencies=no
ConditionPathExists=!/etc/initrd-release
[Service]
ImportCredential={tag}.channel
ExecStart=/usr/bin/python3 -I ${{CREDENTIALS_DIRECTORY}}/{tag}.channel {device}
Restart=on-failure
"""
ENDPOINTS = {
    "AWS_ENDPOINT_URL": API[""],
    "AWS_ENDPOINT_URL_EC2": API["ec2"],
    "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": API["logs"],
    "AWS_ENDPOINT_URL_SSM": API["ssm"],
}


def channel(device: str) -> dict[str, str]:
    """Return the credentials that open the command channel on a serial port, such as /dev/ttyS1."""
    return {
        f"{TAG}.channel": CHANNEL_SCRIPT.read_text(),
        f"systemd.extra-unit.{TAG}.service": CHANNEL_UNIT.format(tag=TAG, device=device),
        f"systemd.unit-dropin.sysinit.target~{TAG}": f"[Unit]\nWants={TAG}.service\n",
    }


def emulator() -> dict[str, str]:
    """Return the credentials that send the engine's AWS clients to the lab's."""
    environment = "".join(f"Environment={name}=http://{address}\n" for name, address in ENDPOINTS.items())
    return {f"systemd.unit-dropin.discriminat.service~{TAG}": f"[Service]\n{environment}"}


def failing(unit: str) -> dict[str, str]:
    """Return the credentials that make a service fail."""
    return {f"systemd.unit-dropin.{unit}~{TAG}": "[Service]\nExecStartPre=/bin/false\n"}


def write(credentials: Mapping[str, str], folder: Path) -> list[Path]:
    """Write each credential as QEMU's -smbios type=11,path= wants it, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, (name, content) in enumerate(credentials.items()):
        path = folder / f"credential-{number}"
        path.write_text(f"io.systemd.credential.binary:{name}={base64.b64encode(content.encode()).decode()}")
        files.append(path)
    return files
