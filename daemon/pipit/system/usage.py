"""How much of the day's minutes is used up, kept across restarts: a cap that a restart lifts is none."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from pipit.core.allowance import Allowance

NAME = "usage.json"


def load(folder: Path | None, limit_s: float) -> Allowance:
    """Return what is left of an earlier run; a file that is missing or damaged counts as nothing used.

    Args:
        folder: where it is kept; None: nowhere.
        limit_s: seconds a day.
    """
    if folder is not None:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            kept = json.loads((folder / NAME).read_text())
            return Allowance(limit_s, str(kept["day"]), max(0.0, float(kept["used_s"])))
    return Allowance(limit_s)


def save(folder: Path | None, allowance: Allowance) -> str | None:
    """Keep it; return what is wrong where that is not possible."""
    if folder is None:
        return None
    new = folder / f"{NAME}.new"
    try:
        new.write_text(json.dumps({"day": allowance.day, "used_s": round(allowance.used_s, 1)}))
        os.replace(new, folder / NAME)
    except OSError as error:
        return f"{folder / NAME} cannot be written: {error.strerror}"
    return None
