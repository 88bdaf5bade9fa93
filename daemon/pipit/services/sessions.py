"""What every codec's `build` returns: sessions over a WebSocket, whose library is loaded when it is needed, not when Pipit starts.

The library takes 17 ms, and the system's certificates 20 ms; on a Raspberry Pi Zero 2 W both together half a second, and 5 MB.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

from pipit.fetch import trusted
from pipit.services import NEW, Codec, Opening, Session
from pipit.services.settings import ServiceSettings


class Sessions:
    """A factory of sessions (see `pipit.services.Opener`).

    Args:
        make: returns a new codec, one for each session.
        settings: where the deadlines are.
    """

    def __init__(self, make: Callable[[Opening], Codec], settings: ServiceSettings) -> None:
        self._make = make
        self._settings = settings
        self._secure = make(NEW).request().url.startswith("wss:")

    def __call__(self, opening: Opening = NEW, /) -> Session:
        """Return a session that has not been opened yet."""
        from pipit.services.websocket import Deadlines, WebSocketSession

        settings = self._settings
        return WebSocketSession(self._make(opening), Deadlines(settings.connect_s, settings.read_s, settings.write_s))

    def prepare(self) -> None:
        """See `Opener.prepare`."""
        importlib.import_module("pipit.services.websocket")
        if self._secure:
            trusted()
