"""The image under a legacy BIOS, to which EC2 falls back on bare metal and on some families."""

from tests.image.boot import booting
from tests.image.boot.machine import Firmware


class TestBios(booting.FirstBoot, booting.PowerCut):
    firmware = Firmware.BIOS
