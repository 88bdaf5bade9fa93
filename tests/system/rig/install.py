"""The disk with Pipit on it: installed in the guest, as the README says."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.system.rig.machine import Disk, Machine, cache, copy_disk, snapshot

PIECES = "/usr/local/lib/rig"
"""Where the pieces of guest/ are in the guest."""
PYTHON = "/opt/pipit/bin/python"
"""The Python that `make install` set up for Pipit."""
REHEARSAL = "/opt/rehearsal"
"""The rehearsal server's environment."""

_CHECKOUT = Path(__file__).resolve().parents[3]
_INSTALLED = ("daemon/pipit", "systemd", "config", "Makefile", "pyproject.toml", "README.md", "LICENSE")

OFFLINE = "export PIP_NO_INDEX=1 PIP_FIND_LINKS=/share/wheels"
"""Makes pip in the guest take what `bring` brought, in place of a network."""

_INSTALL = f"""
set -e
cd /share/checkout
{OFFLINE}
make install
# The rehearsal server, in an environment of its own, so that the one that `make install` made stays as it is.
python3 -m venv --system-site-packages {REHEARSAL}
cp -R /share/checkout/pyproject.toml /share/checkout/README.md /share/checkout/LICENSE /share/checkout/daemon /tmp
{REHEARSAL}/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir '/tmp[rehearsal]'
"""


def with_pipit(suite: str) -> Disk:
    """Return a disk on which Pipit was installed as the README says, by `make install` in the guest; once for a state of Pipit."""
    disk = Disk.built(suite)
    image = cache() / f"installed-{suite}-{disk.image.parent.name.split('-', 2)[2]}-{_installed_hash()}"
    if not image.exists():
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="pipit-rig-", dir=cache()) as name:
            folder = Path(name)
            copy_disk(disk.image, folder / "disk")
            bring(folder / "share", disk.wheels)
            with Machine(disk._replace(image=folder / "disk"), folder, keep=True) as machine:
                machine.run(_INSTALL, timeout_s=600)
                machine.power_off()
            (folder / "disk").rename(image)
        older = sorted(cache().glob(f"installed-{suite}-*"), key=lambda path: path.stat().st_mtime)
        for path in older[:-2]:
            path.unlink()
        sys.stderr.write(f"[rig] Pipit installed on {suite}: {time.monotonic() - began:.0f} s\n")
    return disk._replace(image=image)


def bring(share: Path, wheels: Path) -> None:
    """Put the checkout and what pip needs for it where a guest sees them: /share/checkout and /share/wheels."""
    if not (share / "checkout").exists():
        snapshot(_CHECKOUT, share / "checkout")
        shutil.copytree(wheels, share / "wheels")


def _installed_hash() -> str:
    """Return a hash of all that `make install` reads."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *_INSTALLED],
        cwd=_CHECKOUT,
        capture_output=True,
        check=True,
    )
    digest = hashlib.sha256(_INSTALL.encode())
    for name in sorted(listed.stdout.decode().split("\0")):
        if name and (_CHECKOUT / name).is_file():
            digest.update(name.encode() + b"\0" + (_CHECKOUT / name).read_bytes())
    return digest.hexdigest()[:12]
