"""The operating system: readiness and watchdog, the journal."""

from __future__ import annotations

from typing import Any, Protocol


class Record(Protocol):
    """Writes one structured record: a line for people, fields for machines."""

    def __call__(self, event: str, message: str, *, level: str = "info", **fields: Any) -> None:
        """Record that `event` happened.

        Args:
            event: one lower-case word or two joined by an underscore ("wake", "turn", "state", "fault"): PIPIT_EVENT.
            message: what a person reads in journalctl.
            level: "debug", "info", "warning" or "error".
            fields: more facts; names in lower case with units ("latency_ms"), values str, int, float, bool or None.
                In the journal each becomes PIPIT_<NAME>.
        """
