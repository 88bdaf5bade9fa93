"""What a resampler costs, holds back and keeps out: a table for the pairs of rates that occur.

Run: python -m tests.bench.bench_resampler
"""

from __future__ import annotations

import sys
import time

import numpy as np

from pipit.core.pcm import Resampler

PAIRS = [(48000, 16000), (44100, 16000), (48000, 24000), (16000, 48000), (24000, 48000), (24000, 44100), (22050, 48000)]
SECONDS = 10
AMPLITUDE = 20000


def cpu_percent(rate_in_hz: int, rate_out_hz: int, lobes: int, block_ms: int) -> float:
    """Return the processor time of one core for a second of sound, in per cent; the best of five."""
    resampler, block = Resampler(rate_in_hz, rate_out_hz, lobes), np.zeros(rate_in_hz * block_ms // 1000, np.int16)
    times = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(SECONDS * 1000 // block_ms):
            resampler.process(block)
        times.append(time.process_time() - start)
    return 100 * min(times) / SECONDS


def worst_unwanted_db(rate_in_hz: int, rate_out_hz: int, lobes: int) -> float:
    """Return the loudest alias or image of tones over the whole input band, relative to the tone."""
    nyquist = min(rate_in_hz, rate_out_hz) / 2
    worst = -200.0
    for hz in np.linspace(500, 0.97 * rate_in_hz / 2, 20):
        sound = np.round(AMPLITUDE * np.sin(2 * np.pi * hz * np.arange(rate_in_hz // 2) / rate_in_hz)).astype(np.int16)
        out = Resampler(rate_in_hz, rate_out_hz, lobes).process(sound)[rate_out_hz // 10 :]
        window = np.kaiser(len(out), 16)
        levels = 2 * np.abs(np.fft.rfft(out * window)) / window.sum() / AMPLITUDE
        frequencies = np.fft.rfftfreq(len(out), 1 / rate_out_hz)
        unwanted = levels if hz > nyquist else levels[np.abs(frequencies - hz) > 60]
        worst = max(worst, 20 * np.log10(max(unwanted.max(), 1e-9)))
    return worst


def report() -> str:
    """Measure, and return the table."""
    lines = ["| rates | lobes | delay ms | loudest alias or image dB | CPU % at 20 ms | at 10 ms |", "|---|---|---|---|---|---|"]
    for rate_in_hz, rate_out_hz in PAIRS:
        for lobes in (16, 32):
            delay_ms = 1000 * Resampler(rate_in_hz, rate_out_hz, lobes).delay_s
            cpu = [cpu_percent(rate_in_hz, rate_out_hz, lobes, block_ms) for block_ms in (20, 10)]
            unwanted = worst_unwanted_db(rate_in_hz, rate_out_hz, lobes)
            lines.append(
                f"| {rate_in_hz} to {rate_out_hz} | {lobes} | {delay_ms:.2f} | {unwanted:.0f} | {cpu[0]:.2f} | {cpu[1]:.2f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(report() + "\n")
