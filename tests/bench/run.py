"""Every bench, one table after the other: make bench [ARGS='daemon wake']."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def main() -> int:
    chosen = sys.argv[1:] or [path.stem.removeprefix("bench_") for path in sorted(FOLDER.glob("bench_*.py"))]
    status = 0
    for name in chosen:
        sys.stdout.write(f"\n== {name}\n\n")
        sys.stdout.flush()
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # as the service runs
        status |= subprocess.run(
            [sys.executable, "-m", f"tests.bench.bench_{name}"], cwd=FOLDER.parent.parent, env=environment
        ).returncode
    return status


if __name__ == "__main__":
    sys.exit(main())
