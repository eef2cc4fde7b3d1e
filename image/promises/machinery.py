"""What Debian's systemd and udev start by themselves on any machine: none of it listens to a network.

A new version of systemd may bring more; then somebody has to look at it, and either list it here or mask it in rootfs/.
"""

MACHINERY = frozenset(
    {
        *("dbus.service", "dbus.socket"),
        *("kmod-static-nodes.service", "modprobe@configfs.service", "modprobe@fuse.service"),
        # passwords for disks that want one; there is none, and nobody to ask
        *("systemd-ask-password-console.path", "systemd-ask-password-console.service"),
        *("systemd-ask-password-wall.path", "systemd-ask-password-wall.service"),
        *("systemd-binfmt.service", "systemd-creds.socket", "systemd-hibernate-clear.service"),
        r"systemd-fsck@dev-disk-by\x2dpartlabel-state.service",
        *("systemd-hostnamed.service", "systemd-hostnamed.socket"),
        *("systemd-initctl.service", "systemd-initctl.socket"),
        *("systemd-journal-flush.service", "systemd-journald-dev-log.socket"),
        *("systemd-journald.service", "systemd-journald.socket"),
        *("systemd-machine-id-commit.service", "systemd-modules-load.service"),
        *("systemd-network-generator.service", "systemd-networkd-persistent-storage.service"),
        "systemd-networkd.socket",  # netlink: the kernel's news of interfaces
        *("systemd-pcrextend.socket", "systemd-pcrlock.socket", "systemd-pcrmachine.service"),
        *("systemd-pcrphase-sysinit.service", "systemd-pcrphase.service"),
        *("systemd-random-seed.service", "systemd-sysctl.service", "systemd-sysusers.service"),
        *("systemd-sysext.service", "systemd-sysext.socket"),
        *("systemd-tmpfiles-clean.service", "systemd-tmpfiles-clean.timer"),
        *("systemd-tmpfiles-setup-dev-early.service", "systemd-tmpfiles-setup-dev.service"),
        "systemd-tmpfiles-setup.service",
        *("systemd-tpm2-setup-early.service", "systemd-tpm2-setup.service"),
        *("systemd-udev-load-credentials.service", "systemd-udev-trigger.service", "systemd-udevd.service"),
        *("systemd-udevd-control.socket", "systemd-udevd-kernel.socket"),
        "systemd-user-sessions.service",
    }
)
