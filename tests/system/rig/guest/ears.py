"""In the guest: listens to what Pipit plays, at the other end of the loopback cable: ears.py PCM FILE.

The sound goes to FILE (48 kHz, mono, 16 bits, no header). Standard output has a line for each 20 ms: the time at which they ended
(CLOCK_MONOTONIC, s) and their level in dBFS; -200 is digital silence. A line that would repeat -200 is left out.
"""

import array
import math
import subprocess
import sys
import time

RATE_HZ = 48000
BLOCK = RATE_HZ // 50
SILENCE_DBFS = -200.0


def main() -> None:
    command = ["arecord", "-q", "-D", sys.argv[1], "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", str(RATE_HZ)]
    command += ["--period-size", str(BLOCK // 2), "--buffer-size", str(RATE_HZ)]
    before = 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as recorder, open(sys.argv[2], "wb") as file:
        while block := recorder.stdout.read(2 * BLOCK):
            while len(block) < 2 * BLOCK and (more := recorder.stdout.read(2 * BLOCK - len(block))):
                block += more
            now = time.monotonic()
            file.write(block)
            level = level_dbfs(array.array("h", block))
            if (level, before) != (SILENCE_DBFS, SILENCE_DBFS):
                sys.stdout.write(f"{now:.3f} {level:.1f}\n")
                sys.stdout.flush()
            before = level
    sys.exit(f"arecord ended with {recorder.returncode}")


def level_dbfs(samples: array.array) -> float:
    energy = sum(sample * sample for sample in samples[::4])
    return 10 * math.log10(energy / len(samples[::4]) / 32768**2) if energy else SILENCE_DBFS


if __name__ == "__main__":
    main()
