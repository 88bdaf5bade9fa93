"""Where Pipit may keep what it has learnt."""

from __future__ import annotations

import os
from pathlib import Path


def folder() -> Path | None:
    """Return the folder that systemd made for it (StateDirectory=), or None: then nothing is kept."""
    first = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(first) if first else None
