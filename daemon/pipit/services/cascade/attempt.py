"""One attempt at answering one utterance: it is transcribed and the model is asked, perhaps before it is known to be over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipit.services.cascade import Call, StageError, Text

Part = Text | Call
Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Attempt:
    """Runs at once, in the background. What comes of it waits until somebody asks: nothing is said and no tool is run by itself.

    Args:
        samples: the utterance, shape (n,), 16 kHz.
        hear: transcribes it.
        ask: asks the model, given what the person said last; not called for an utterance without words.
        version: of the dialogue that the model is told.
        spawn: makes a task.
    """

    def __init__(
        self,
        samples: NDArray[np.int16],
        hear: Callable[[NDArray[np.int16]], Awaitable[str | None]],
        ask: Callable[[str], AsyncGenerator[Part, None]],
        version: int,
        spawn: Spawn,
    ) -> None:
        self.samples = samples
        self.version = version
        self.understood = False
        """Somebody has asked for the words, and has got them or knows that they are lost."""
        self.failed = False
        """Hearing or thinking did, so far."""
        self._hear = hear
        self._ask = ask
        self._text: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._parts: asyncio.Queue[Part | StageError | None] = asyncio.Queue()
        self._task = spawn(self._run())

    async def text(self) -> str | None:
        """Return what was said; see `Hear.hear`.

        Raises:
            StageError: it could not be transcribed.
        """
        try:
            return await asyncio.shield(self._text)
        finally:
            self.understood = self._text.done()

    async def parts(self) -> AsyncGenerator[Part, None]:
        """Yield what the model answers, from the beginning; may be asked for once.

        Raises:
            StageError: no answer, or not to the end.
        """
        while (part := await self._parts.get()) is not None:
            if isinstance(part, StageError):
                raise part
            yield part

    def drop(self) -> None:
        """Forget it: requests are broken off, failures are nobody's business."""
        self._task.cancel()

    async def _run(self) -> None:
        try:
            text = await self._hear(self.samples)
        except StageError as error:
            self.failed = True
            self._text.set_exception(error)
            self._text.exception()  # it may be dropped, and nobody ask
            return
        self._text.set_result(text)
        if not text:
            return
        try:
            async with aclosing(self._ask(text)) as parts:
                async for part in parts:
                    self._parts.put_nowait(part)
        except StageError as error:
            self.failed = True
            self._parts.put_nowait(error)
        else:
            self._parts.put_nowait(None)
