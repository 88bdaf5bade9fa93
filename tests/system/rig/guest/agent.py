"""In the guest: carries out the tests' commands, one JSON object a line over the serial line, several at a time if they like.

Asked {"id": 7, "command": "systemctl status pipit", "timeout_s": 30} it answers {"id": 7, "status": 0, "output": "..."}: standard
output and standard error; a command that took too long has null as its status. Asked {"id": 8, "follow": "journalctl -f"} it sends
each line as it comes, {"id": 8, "line": "..."}. The first message, without an id, says that the guest is up.
"""

import json
import os
import re
import subprocess
import sys
import termios
import threading
import tty

LINE = "/dev/ttyS0"
SHARE = "/share"


def main() -> None:
    mount_share()
    line = os.open(LINE, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(line, termios.TCSANOW)
    answer = Answers(line)
    with open("/proc/uptime") as uptime:
        answer({"up_s": float(uptime.read().split()[0])})
    with os.fdopen(os.dup(line), "r", encoding="utf-8") as requests:
        for request in requests:
            threading.Thread(target=serve, args=(json.loads(request), answer), daemon=True).start()


class Answers:
    """Writes whole lines, whichever thread comes first."""

    def __init__(self, line: int) -> None:
        self._line = line
        self._lock = threading.Lock()

    def __call__(self, answer: dict) -> None:
        rest = json.dumps(answer).encode() + b"\n"
        with self._lock:
            while rest:
                rest = rest[os.write(self._line, rest[:2048]) :]


def serve(request: dict, answer: Answers) -> None:
    if "follow" in request:
        follow(request, answer)
    else:
        answer(carry_out(request))


def follow(request: dict, answer: Answers) -> None:
    """Send what a command says, line by line, until it ends."""
    shell = ["/bin/bash", "-c", request["follow"]]
    with subprocess.Popen(shell, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            answer({"id": request["id"], "line": line.rstrip("\n")})


def carry_out(request: dict) -> dict:
    """Run one command in a shell of its own."""
    try:
        done = subprocess.run(
            ["/bin/bash", "-c", request["command"]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=request["timeout_s"],
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired as error:
        said = error.stdout or b""
        return {"id": request["id"], "status": None, "output": said if isinstance(said, str) else said.decode(errors="replace")}
    return {"id": request["id"], "status": done.returncode, "output": done.stdout}


def mount_share() -> None:
    """Mount the host's folder that the kernel's command line names."""
    with open("/proc/cmdline") as command_line:
        named = re.search(r"rig\.share=(\S+)", command_line.read())
    if named is None:
        sys.exit("the kernel's command line has no rig.share=")
    if named[1] == "9p":  # not a folder's name: a device of the virtual machine
        if subprocess.run(["mount", "-t", "9p", "-o", "trans=virtio,version=9p2000.L,msize=262144", "rig", SHARE]).returncode:
            sys.exit("the host's folder cannot be mounted")
        return
    # Debian 13's mount talks to the kernel in a new way, where the folder is an option; Debian 12's in the old one.
    ways = (f"hostfs={named[1]}", named[1])
    if not any(subprocess.run(["mount", "-i", "-t", "hostfs", "none", SHARE, "-o", way]).returncode == 0 for way in ways):
        sys.exit(f"{named[1]} cannot be mounted")


if __name__ == "__main__":
    main()
