"""In the guest: lets the microphone hear the loudspeaker: echo.py FACTOR FILE PCM.

It plays what ears.py writes to FILE, from now on and FACTOR times as loud, into PCM. Each sample comes about 0.1 s later.
"""

import array
import os
import subprocess
import sys
import time

RATE_HZ = 48000
HEAD_START_S = 0.06
"""Of silence: so late the file may grow without the sound stopping."""


def main() -> None:
    factor = float(sys.argv[1])
    command = ["aplay", "-q", "-D", sys.argv[3], "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", str(RATE_HZ)]
    command += ["--period-size", str(RATE_HZ // 100), "--buffer-size", str(RATE_HZ // 5)]
    with open(sys.argv[2], "rb") as file, subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0) as player:
        file.seek(0, os.SEEK_END)
        file.seek(file.tell() // 2 * 2)
        player.stdin.write(bytes(2 * round(HEAD_START_S * RATE_HZ)))
        while player.poll() is None:
            if block := file.read(RATE_HZ // 50 * 2):
                player.stdin.write(array.array("h", (round(factor * sample) for sample in array.array("h", block))).tobytes())
            else:
                time.sleep(0.005)
    sys.exit(f"aplay ended with {player.returncode}")


if __name__ == "__main__":
    main()
