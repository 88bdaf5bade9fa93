"""In the guest: writes down what the three LEDs show, to standard output: lights.py GPIO GPIO GPIO.

A line for each window of 20 ms that differs from the one before: the time of its start (CLOCK_MONOTONIC, s), then for each LED the
part of the window during which its line was high, 0 to 1. 20 ms are two periods of the pulse width modulation.
"""

import os
import sys
import time

WINDOW_S = 0.02
SAMPLES = 20


def main() -> None:
    files = [os.open(f"/run/rig/gpio/sim_gpio{line}/value", os.O_RDONLY) for line in sys.argv[1:]]
    shown = None
    start = time.monotonic()
    while True:
        high = [0] * len(files)
        for sample in range(SAMPLES):
            time.sleep(max(0.0, start + sample * WINDOW_S / SAMPLES - time.monotonic()))
            for number, file in enumerate(files):
                high[number] += os.pread(file, 1, 0) == b"1"
        duties = " ".join(f"{count / SAMPLES:.2f}" for count in high)
        if duties != shown:
            shown = duties
            sys.stdout.write(f"{start:.3f} {duties}\n")
            sys.stdout.flush()
        start = max(start + WINDOW_S, time.monotonic() - WINDOW_S)  # late: go on from now


if __name__ == "__main__":
    main()
