"""Hears with pocketsphinx: on this device, and only the requests that `offline_think` can answer."""

from __future__ import annotations

import asyncio
import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipit.errors import ConfigError
from pipit.offline.recogniser import Recogniser
from pipit.services.cascade import Hear, StageError
from pipit.services.cascade.settings import Settings

GRAMMAR = Path(__file__).with_name("requests.gram")


def build(settings: Settings) -> Hear:
    """Return the stage.

    Raises:
        ConfigError: pocketsphinx is not installed, or another language is asked for.
    """
    if settings.hear.language not in (None, "en"):
        raise ConfigError("service.hear.language: pocketsphinx understands English only; leave it null")
    if importlib.util.find_spec("pocketsphinx") is None:
        raise ConfigError("service.hear.engine: pocketsphinx is not installed: sudo make install EXTRAS=local")
    return SphinxHear(GRAMMAR)


class SphinxHear:
    """See `Hear`. The recogniser is loaded when it is needed first, and kept: 20 MB.

    Args:
        grammar: what can be understood.
    """

    def __init__(self, grammar: Path) -> None:
        self._grammar = grammar
        self._recogniser: Recogniser | None = None
        self._worker = ThreadPoolExecutor(1, "pipit-ear")

    async def open(self) -> None:
        """See `Stage.open`."""
        if self._recogniser is None:
            try:
                await asyncio.get_running_loop().run_in_executor(self._worker, self._load)
            except ConfigError as error:
                raise StageError("config", str(error)) from error

    async def release(self) -> None:
        """Keep the recogniser: loading it again would hold up the next conversation."""

    async def hear(self, samples: NDArray[np.int16]) -> str | None:
        """See `Hear.hear`. An utterance that is no longer wanted when its turn comes is left out."""
        heard = await asyncio.get_running_loop().run_in_executor(self._worker, lambda: self._load().hear(samples))
        if heard.text:
            return heard.text
        return None if heard.score else ""  # words that were none of the grammar's, or no words

    def _load(self) -> Recogniser:
        """Return the recogniser. In the worker, which is one thread: the decoder is not for two at once."""
        if self._recogniser is None:
            self._recogniser = Recogniser(self._grammar)
        return self._recogniser
