"""What a user would otherwise install: the openwakeword and pymicro-wakeword packages, in a virtual environment of their own.

They are fetched once into `build/` (400 MB, a minute). openwakeword 0.6.0 comes without models and would load them from elsewhere;
it gets those that 0.4.0 contains.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.wake import stock

PACKAGES = ("openwakeword==0.6.0", "pymicro-wakeword==2.5.0")
FOLDER = stock.BUILD / "peers"

PROBE = """
import sys, time, json
from pathlib import Path

def status(key):
    return int(next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith(key)).split()[1])

kind, words, folder, *sounds = sys.argv[1:]
words = words.split(",")
began = time.perf_counter()
if kind == "openwakeword":
    from openwakeword.model import Model
    paths = [f"{folder}/{word}_v0.1.onnx" for word in words]
    features = dict(melspec_model_path=f"{folder}/melspectrogram.onnx", embedding_model_path=f"{folder}/embedding_model.onnx")
    model = Model(wakeword_models=paths, inference_framework="onnx", **features)
    import numpy as np
    block, detect = 2560, lambda data: model.predict(np.frombuffer(data, np.int16))
elif kind == "micro":
    from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model
    models, features = [MicroWakeWord.from_builtin(Model(word)) for word in words], MicroWakeWordFeatures()
    def detect(data):
        for feature in features.process_streaming(data):
            for model in models:
                model.process_streaming(feature)
    block = 640
else:
    from pipit.wake import openwakeword
    engine = openwakeword.build(openwakeword.Settings(words=tuple(openwakeword.Word(word) for word in words)))
    if kind == "gated":
        from pipit.gate import Gated
        engine = Gated(engine, 1, lambda wake: None)
    block, detect = 640, engine.detect
result = {"load_s": time.perf_counter() - began, "load_cpu_s": time.process_time(), "cpu": {}}
for sound in sounds:
    data = Path(sound).read_bytes()
    for start in range(0, 64000, block):
        detect(data[start:start + block])
    began = time.process_time()
    for start in range(64000, len(data) // block * block, block):
        detect(data[start:start + block])
    result["cpu"][Path(sound).stem] = 1000 * (time.process_time() - began) / ((len(data) - 64000) / 32000)
result["rss_mb"], result["anonymous_mb"], result["threads"] = status("VmRSS") / 1024, status("RssAnon") / 1024, status("Threads")
print(json.dumps(result))
"""


def python() -> Path:
    """Return the interpreter that has the packages; fetches them the first time.

    Raises:
        stock.Unavailable: they cannot be had; says why.
    """
    interpreter = FOLDER / "bin" / "python"
    done = FOLDER / "installed"
    if not done.exists() or done.read_text() != " ".join(PACKAGES):
        if sys.version_info >= (3, 12):
            raise stock.Unavailable("openwakeword 0.6.0 cannot be installed on Python 3.12 and later: it needs tflite-runtime")
        venv.create(FOLDER, with_pip=True)
        pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
        fetched = subprocess.run(pip, capture_output=True, text=True, check=False)
        if fetched.returncode:
            raise stock.Unavailable(f"pip cannot install {' and '.join(PACKAGES)}: {fetched.stderr.strip()[-200:]}")
        done.write_text(" ".join(PACKAGES))
    return interpreter


def probe(kind: str, words: Sequence[str], sounds: Sequence[Path]) -> dict[str, Any]:
    """Measure an engine in a process of its own.

    Args:
        kind: "gated" or "ungated" (Pipit's), "openwakeword" or "micro".
        words: the wake words.
        sounds: files of raw samples, 16 kHz mono.

    Returns:
        load_s: import and creation; load_cpu_s: processor time until then; cpu: ms a second of sound, by the name of the file;
        rss_mb, anonymous_mb, threads.

    Raises:
        stock.Unavailable: the packages, or the models, cannot be had.
    """
    interpreter = sys.executable if kind in ("gated", "ungated") else str(python())
    folder = stock.models() if kind == "openwakeword" else Path()
    command = [interpreter, "-W", "ignore", "-c", PROBE, kind, ",".join(words), str(folder), *map(str, sounds)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # as the service runs; else numpy's threads spin for 10 ms at first
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{kind}: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
