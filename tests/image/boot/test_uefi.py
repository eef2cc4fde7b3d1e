"""The image under UEFI, as EC2 boots it where it may choose."""

from tests.image.boot import booting
from tests.image.boot.machine import Firmware


class TestUefi(booting.FirstBoot, booting.PowerCut, booting.Closed):
    firmware = Firmware.UEFI
