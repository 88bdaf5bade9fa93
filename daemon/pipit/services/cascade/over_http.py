"""What the stages that make HTTP requests have in common: the connection that is opened before it is needed."""

from __future__ import annotations

from pipit.fetch import Ahead, FetchError
from pipit.services.cascade import StageError


class OverHttp:
    """A stage (see `pipit.services.cascade.Stage`) whose next request finds its connection open. Whoever inherits sets both."""

    _ahead: Ahead
    _connect_s: float

    async def open(self) -> None:
        """See `Stage.open`."""
        try:
            await self._ahead.open(self._connect_s)
        except FetchError as error:
            raise StageError("retryable", str(error)) from error

    async def release(self) -> None:
        """See `Stage.release`."""
        await self._ahead.release()
