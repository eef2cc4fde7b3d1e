"""Probes: what is asked of the machine from inside, as scripts that its own Python runs as root and that print JSON."""

# Every process of a unit's control group: ids, capabilities and the like, from /proc.
PROCESSES = """
import json, pathlib, sys
group = pathlib.Path("/sys/fs/cgroup" + sys.argv[1])
found = {}
for pid in (group / "cgroup.procs").read_text().split():
    status = dict(line.split(":", 1) for line in pathlib.Path("/proc", pid, "status").read_text().splitlines())
    command = pathlib.Path("/proc", pid, "cmdline").read_bytes().replace(b"\\0", b" ").decode().strip()
    found[pid] = {"command": command, **{key: value.split() for key, value in status.items()}}
print(json.dumps(found))
"""

# Sockets that anybody may send to: listening or unconnected ones, as "tcp 0.0.0.0 1042".
LISTENERS = """
import json, pathlib, socket
found = []
def address(text):
    octets = bytes.fromhex(text)
    words = b"".join(octets[at:at + 4][::-1] for at in range(0, len(octets), 4))
    return socket.inet_ntop(socket.AF_INET if len(words) == 4 else socket.AF_INET6, words)
for protocol in ("tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6", "icmp"):
    path = pathlib.Path("/proc/net", protocol)
    for line in path.read_text().splitlines()[1:] if path.exists() else ():
        _, local, remote, state, *_ = line.split()
        host, port = local.split(":")
        if protocol.startswith("raw") and int(port, 16) == socket.IPPROTO_RAW:
            continue  # for sending only
        # 0A is LISTEN; of the others only what has a peer is closed to strangers
        if state == "0A" or (not protocol.startswith("tcp") and remote.endswith(":0000")):
            found.append(f"{protocol} {address(host)} {int(port, 16)}")
print(json.dumps(sorted(found)))
"""

# What can be written to, as [where, type, options]; the kernel's own interfaces are not files.
WRITABLE = """
import json, os
KERNEL = {"proc", "sysfs", "cgroup2", "devpts", "securityfs", "bpf", "mqueue", "debugfs", "tracefs", "hugetlbfs",
          "configfs", "fusectl", "autofs", "pstore", "efivarfs", "binfmt_misc", "devtmpfs"}
found = []
for line in open("/proc/self/mounts"):
    source, where, kind, options, *_ = line.split()
    if kind in KERNEL or "ro" in options.split(","):
        continue
    room = os.statvfs(where)
    found.append({"where": where, "type": kind, "options": options.split(","), "octets": room.f_blocks * room.f_frsize})
print(json.dumps(found))
"""

# Whether root can make a file in each of these folders: the name of the error, or "".
TOUCH = """
import errno, json, os, sys
found = {}
for folder in sys.argv[1:]:
    path = os.path.join(folder, ".boot-test")
    try:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        os.unlink(path)
        found[folder] = ""
    except OSError as fault:
        found[folder] = errno.errorcode[fault.errno]
print(json.dumps(found))
"""

# Processes that could read what somebody types on the console, as "pid command".
CONSOLE_READERS = """
import glob, json, os, sys
found = []
for link in glob.glob("/proc/[0-9]*/fd/*"):
    try:
        if not os.readlink(link).startswith(tuple(sys.argv[1:])):
            continue
        flags = [line.split()[1] for line in open(link.replace("/fd/", "/fdinfo/")) if line.startswith("flags")]
        process = link.split("/")[2]
        if int(flags[0], 8) & os.O_ACCMODE != os.O_WRONLY:
            found.append(process + " " + open(f"/proc/{process}/comm").read().strip())
    except OSError:
        continue
print(json.dumps(found))
"""

# Files of a process whose names begin so.
HELD = """
import glob, json, os, sys
held = [os.readlink(link) for link in glob.glob(f"/proc/{sys.argv[1]}/fd/*")]
print(json.dumps([each for each in held if each.startswith(sys.argv[2])]))
"""
