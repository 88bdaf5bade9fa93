"""The guest as a machine: booted, given commands, switched off. It knows nothing of Pipit; `pi` does.

The guest is a User-Mode Linux, a program on this machine. Commands go over its serial line, which is one end of a socket pair;
files go through a folder that both see.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

_BOOT_S = 120.0
_EMULATED = 20
"""So many times longer a guest in QEMU may take before it is given up."""
_BUILT_IN_CARD = "snd_aloop.id=Speakerphone snd_aloop.pcm_substreams=1 snd_aloop.timer_source=hrtimer"
"""What disk.sh writes into modprobe.d, for a kernel that has the driver built in."""
_SCRIPTS = Path(__file__).parent


class Ran(NamedTuple):
    """What a command came to."""

    status: int | None
    """Exit status; None: it was ended because it took too long."""
    output: str
    """Standard output and standard error."""


class Disk(NamedTuple):
    """What a guest boots from."""

    image: Path
    kernel: Path
    devicetree: Path
    wheels: Path
    emulated: bool = False
    """Whether QEMU runs it: the same disk with a PC's kernel."""

    @classmethod
    def built(cls, suite: str) -> Disk:
        """Build the disk of a Debian release ("bookworm", "trixie"), or find it in the cache; Pipit is not on it."""
        cache().mkdir(parents=True, exist_ok=True)
        kernel = _build("kernel.sh", "uml")
        wheels = _build("wheels.sh", suite)
        folder = _build("disk.sh", suite, kernel, wheels, root=True)
        return cls(folder / "disk", kernel / "linux", folder / "devicetree", wheels)

    def in_qemu(self) -> Disk:
        """Return the same disk for QEMU."""
        return self._replace(kernel=_build("kernel.sh", "qemu") / "linux", emulated=True)


def _build(script: str, *arguments: str | Path, root: bool = False) -> Path:
    """Run one of the scripts here, which builds something unless it is in the cache; return the folder it printed."""
    environment = {"XDG_CACHE_HOME": cache().parent, "PYTHON": sys.executable}
    become = ["sudo"] if root and os.geteuid() else []
    command = [*become, "env", *(f"{name}={value}" for name, value in environment.items()), _SCRIPTS / script, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return Path(done.stdout.strip().splitlines()[-1])


def cache() -> Path:
    """Return where everything that is built is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pipit-rig"


class Machine:
    """A guest that is up.

    Args:
        disk: what it boots from.
        folder: for what this boot needs; `share` in it is /share in the guest.
        keep: write to the disk itself; otherwise all that is written is forgotten.
        root: boot from this folder in place of the disk (see `tree_of`), and in virtual time: whenever all in the guest wait, its
            clocks jump to what comes next. A disk would not do: while its answer is awaited the guest waits, too.
        memory_mb: the guest's memory.

    Raises:
        RuntimeError: it did not come up; the message has its console.
    """

    def __init__(self, disk: Disk, folder: Path, *, keep: bool = False, root: Path | None = None, memory_mb: int = 768) -> None:
        self.share = folder / "share"
        self.share.mkdir(parents=True, exist_ok=True)
        self._console = folder / "console"
        self._numbers = itertools.count()
        self._answers: dict[int, dict[str, Any]] = {}
        self._followers: dict[int, Callable[[str], None]] = {}
        self._changed = threading.Condition()
        self._up_s: float | None = None
        self._patience = _EMULATED if disk.emulated else 1
        self.boot_s: float
        """Seconds from the kernel's start to the first command."""
        self._line, guests_end = socket.socketpair()
        number = guests_end.fileno()
        with self._console.open("wb") as console:
            command = [
                *_pinned(real_time=root is None),
                disk.kernel,
                f"mem={memory_mb}M",
                "seccomp=on",  # the fast of User-Mode Linux's two ways to run programs
                f"uml_dir={folder}",
                *(_on_disk(disk.image if keep else f"{folder / 'written'},{disk.image}") if root is None else _in_tree(root)),
                "rw",
                "con=null",
                "con0=null,fd:1",
                f"ssl0=fd:{number},fd:{number}",
                f"dtb={disk.devicetree}",
                f"rig.share={self.share}",
                "quiet",
            ]
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL"),  # with the tests, however these end
                    *(_qemu(disk, self.share, number, memory_mb) if disk.emulated else command),
                ],
                env={**os.environ, "TMPDIR": _memory_folder()},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                pass_fds=(number,),
                start_new_session=True,
            )
        guests_end.close()
        threading.Thread(target=self._listen, daemon=True).start()
        with self._changed:
            self._changed.wait_for(lambda: self._up_s is not None or self._process.poll() is not None, _BOOT_S * self._patience)
        if self._up_s is None:
            self.kill()
            raise RuntimeError(f"the guest did not come up; its console:\n{self.console()}")
        self.boot_s = self._up_s

    def run(self, command: str, *, timeout_s: float = 60, check: bool = True) -> Ran:
        """Run a command in the guest, as root, in bash.

        Raises:
            AssertionError: it failed or took too long, and `check` is set; or the guest is gone.
        """
        number = self._ask(command=command, timeout_s=timeout_s)
        with self._changed:
            self._changed.wait_for(
                lambda: number in self._answers or self._process.poll() is not None, self._patience * (timeout_s + 20)
            )
            assert number in self._answers, f"the guest did not answer to: {command}\nits console:\n{self.console()}"
            answer = self._answers.pop(number)
        ran = Ran(answer["status"], answer["output"])
        if check:
            assert ran.status == 0, f"`{command}` ended with {ran.status}:\n{ran.output}"
        return ran

    def follow(self, command: str, take: Callable[[str], None]) -> None:
        """Start a command in the guest that is never done, such as `journalctl -f`; `take` gets its lines, in another thread."""
        number = next(self._numbers)
        self._followers[number] = take
        self._ask(number, follow=command)

    def now(self) -> float:
        """Return the guest's CLOCK_MONOTONIC, in seconds: what all its time stamps count in."""
        return float(self.run("cut -d' ' -f1 /proc/uptime").output)

    def console(self) -> str:
        """Return the last lines of the console."""
        return "\n".join(self._console.read_text(errors="replace").splitlines()[-40:])

    def power_off(self) -> None:
        """Shut the guest down in order."""
        self._ask(command="systemctl poweroff", timeout_s=30)
        try:
            self._process.wait(40)
        finally:
            self.kill()

    def kill(self) -> None:
        """Switch the guest off."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _ask(self, number: int | None = None, **request: Any) -> int:
        number = next(self._numbers) if number is None else number
        self._line.sendall(json.dumps({"id": number, **request}).encode() + b"\n")
        return number

    def _listen(self) -> None:
        """Read the serial line; what is no message (a program's own words) is left out."""
        with self._line.makefile("rb") as lines:
            while True:
                try:
                    line = lines.readline()
                except (OSError, ValueError):
                    line = b""
                if not line:
                    break
                try:
                    message = json.loads(line)
                except ValueError:
                    continue
                self._take(message)
        with self._changed:
            self._changed.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        if "line" in message:
            self._followers[message["id"]](message["line"])
            return
        with self._changed:
            if "up_s" in message:
                self._up_s = message["up_s"]
            else:
                self._answers[message["id"]] = message
            self._changed.notify_all()


def _on_disk(image: str | Path) -> tuple[str, ...]:
    return f"ubd0={image}", "root=/dev/ubda"


def _in_tree(root: Path) -> tuple[str, ...]:
    return "root=none", "rootfstype=hostfs", f"rootflags={root}", "time-travel"


def _qemu(disk: Disk, share: Path, line: int, memory_mb: int) -> list[str | Path]:
    """Return the command for QEMU without virtualisation; nothing is written to the disk.

    An instruction takes 1 ns of the guest's time, however long it takes here: so a busy machine makes nothing in the guest late.
    """
    arguments = f"root=/dev/vda rw console=ttyS1 quiet rig.share=9p systemd.mask=systemd-modules-load.service {_BUILT_IN_CARD}"
    return [
        *("qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-icount", "shift=0", "-m", f"{memory_mb}M"),
        *("-nodefaults", "-display", "none", "-no-reboot", "-kernel", disk.kernel, "-append", arguments, "-dtb", disk.devicetree),
        *("-drive", f"file={disk.image},format=raw,if=virtio,snapshot=on", "-device", "virtio-rng-pci"),
        *("-virtfs", f"local,path={share},mount_tag=rig,security_model=none,multidevs=remap"),
        *("-chardev", f"socket,id=line,fd={line}", "-serial", "chardev:line", "-serial", "stdio"),
    ]


@contextmanager
def tree_of(disk: Disk, folder: Path) -> Iterator[Path]:
    """Mount a disk's files; what is written to them goes to `folder`, and the disk stays as it is. Needs root."""
    lower, upper, scratch, merged = layers = tuple(folder / name for name in ("lower", "upper", "scratch", "merged"))
    for layer in layers:
        layer.mkdir()
    with ExitStack() as mounted:
        for target, arguments in (
            (lower, ("-o", "loop,ro", disk.image)),
            (merged, ("-t", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={scratch}", "overlay")),
        ):
            subprocess.run(["mount", *arguments, target], check=True)
            mounted.callback(subprocess.run, ["umount", target], check=True)
        yield merged


def _pinned(*, real_time: bool) -> list[str]:
    """Keep all of the guest on one processor, in real time if that is wanted and allowed.

    The kernel and the programs are processes of this machine that hand over to each other at every system call; on two processors
    each hand-over costs up to ten times as much. Real time keeps other work on this machine from making the guest's sound stutter;
    in virtual time that cannot happen, and the guest takes what others leave.
    """
    processor = ["taskset", "-c", str(max(os.sched_getaffinity(0)))]
    if not real_time:
        return ["nice", "-n", "10", *processor]
    allowed = subprocess.run(["chrt", "-r", "5", "true"], capture_output=True).returncode == 0
    return [*processor, *(["chrt", "-r", "5"] if allowed else [])]


def _memory_folder() -> str:
    """Return where User-Mode Linux keeps the guest's memory: it must be in memory itself and allow programs."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"


def wait_until(true: Callable[[], bool], timeout_s: float, every_s: float = 0.1) -> bool:
    """Wait for a condition; return whether it came true in time."""
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True


def copy_disk(source: Path, target: Path) -> None:
    """Copy a disk image, holes staying holes."""
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", source, target], check=True)


def snapshot(checkout: Path, target: Path) -> None:
    """Copy what git has of a checkout, and what is new in it, as `git clone` would bring it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=checkout, capture_output=True, check=True
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (checkout / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(checkout / name, target / name)
