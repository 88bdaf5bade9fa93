"""The models of the openwakeword package, version 0.4.0: what `features.tflite` is made from and what the engine is compared with.

0.4.0 is the last release with its models inside. The wheel is fetched with pip and unpacked into `build/`, never installed: the
package would bring 350 MB of scikit-learn and SciPy.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

RELEASE = "openwakeword==0.4.0"
SHA256 = "2c353f49a35d384507403efde3db439353d8281a52d08a0e42a5b493e5145075"
BUILD = Path(__file__).parents[2] / "build"


class Unavailable(Exception):
    """The wheel is not in `build/` and cannot be fetched."""


def package() -> Path:
    """Return the folder that holds the unpacked `openwakeword` package; fetches it the first time.

    Raises:
        Unavailable: neither fetched before nor to be had now; says why.
    """
    folder = BUILD / RELEASE.replace("==", "-")
    if not folder.exists():
        BUILD.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILD) as scratch:
            wheel = _fetch(Path(scratch))
            unpacked = Path(scratch) / "unpacked"
            zipfile.ZipFile(wheel).extractall(unpacked)
            unpacked.rename(folder)
    return folder


def models() -> Path:
    """Return the folder with its ONNX models.

    Raises:
        Unavailable: as `package`.
    """
    return package() / "openwakeword" / "resources" / "models"


def _fetch(folder: Path) -> Path:
    pinned = folder / "requirements.txt"
    pinned.write_text(f"{RELEASE} --hash=sha256:{SHA256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    done = subprocess.run([*pip, "--dest", str(folder), "-r", str(pinned)], capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise Unavailable(f"pip cannot fetch {RELEASE}: {done.stderr.strip() or 'no wheel came'}")
    return wheels[0]
