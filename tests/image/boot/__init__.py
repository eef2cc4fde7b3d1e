"""The image booted beside the lab: a virtual machine in the place of the lab's appliance, under UEFI and under BIOS.

    with booted(Firmware.UEFI) as guest: ...         # see conftest.py; `make image-test` runs the tests

The disk is the file that `make image` has made, unmodified, under an overlay that keeps what the machine writes. As on
EC2 the machine has one network interface, an address by DHCP, its identity, role and user data from the metadata
service, time from 169.254.169.123, and a serial console. What only a test wants, it is told by SMBIOS credentials of
systemd (credentials.py): where the emulator of AWS is, and a command channel on its second serial port.

Modules: machine (QEMU), accelerator (KVM or not), credentials, channel, guest (the machine as the lab's appliance),
dhcp and clock (what AWS's network answers), booting (the story that both firmwares tell).
"""
