"""The far end of the command channel: runs as root in the machine under test, on its second serial port.

Handed over as a credential, so it is one file of the standard library. Each line in is a request, each line out its
answer, JSON behind MARK: the firmware may write to the port as well.
"""

import json
import os
import select
import subprocess
import sys
import tty
from pathlib import Path

MARK = b"\x02"
CHUNK = 32768  # octets of a file in one answer


def answer(request):
    if "read" in request:  # a file from an offset, up to its last whole line so far
        try:
            with Path(request["read"]).open("rb") as file:
                file.seek(request["at"])
                octets = file.read(CHUNK)
        except FileNotFoundError:
            octets = b""
        return {"out": octets[: octets.rfind(b"\n") + 1].decode(errors="replace"), "more": len(octets) == CHUNK}
    try:
        done = subprocess.run(
            request["run"],
            input=request.get("input", "").encode(),
            capture_output=True,
            timeout=request["timeout"],
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"code": -1, "out": "", "err": "timed out"}
    except OSError as fault:
        return {"code": 127, "out": "", "err": str(fault)}
    return {
        "code": done.returncode,
        "out": done.stdout.decode(errors="replace"),
        "err": done.stderr.decode(errors="replace"),
    }


def main(device):
    port = os.open(device, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(port)

    def say(document):
        octets = MARK + json.dumps(document).encode() + b"\n"
        while octets:
            octets = octets[os.write(port, octets) :]

    say({"ready": True})
    heard = b""
    while True:
        select.select([port], [], [])
        heard += os.read(port, 4096)
        *lines, heard = heard.split(b"\n")
        for line in lines:
            say(answer(json.loads(line)))


if __name__ == "__main__":
    main(sys.argv[1])
