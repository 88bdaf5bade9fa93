"""Edges of the button -> presses and holds.

A press has to interrupt a reply at once, and a hold mutes; but a hold begins like a press. So it depends on the state when a press
counts, and `machine.MEANING` says it (`at_once`):

    down          up                      down          up                      down        hold_s        up
    |_____________|                       |_____________|                       |_____________|___________|
    ^ Pressed                                           ^ Pressed                             ^ Held
    THINKING, SPEAKING                    elsewhere                             everywhere

Where it counts at once (the reply is cut, nothing else happens) a hold that follows still mutes, and the button coming up says
nothing more. Elsewhere a press could open a session or end a turn, which a hold that is meant to mute must not do first; so it
counts when the button comes up before `hold_s`.

Contacts bounce for some milliseconds. The first edge counts without delay; what follows within `bounce_s` does not, and if the
button turns out to be somewhere else at the end of it, that counts then. So a long `bounce_s` delays nothing: only touches shorter
than it come late, and no finger is that quick.
"""

from __future__ import annotations

from pipit.core.events import Edge, Held, Pressed


class Gestures:
    """Turns edges into presses and holds. Times are seconds of the clock that stamped the edges.

    Args:
        hold_s: how long the button is held down for a hold.
        bounce_s: how long contacts may bounce; less than `hold_s`.
    """

    def __init__(self, hold_s: float = 1.5, bounce_s: float = 0.05) -> None:
        self._hold_s = hold_s
        self._bounce_s = bounce_s
        self._contact = False  # as last reported
        self._down = False  # as last believed
        self._quiet_at = float("-inf")  # contacts may bounce until then
        self._held_at: float | None = None  # when the button, being down, becomes held
        self._undecided = False  # it is down, and that has not been taken for anything yet
        self._at_once = False

    @property
    def deadline(self) -> float | None:
        """When `timeout` is due, or None."""
        if self._contact is not self._down:
            return self._quiet_at
        return self._held_at

    def feed(self, edge: Edge, at_once: bool = False) -> tuple[Pressed | Held, ...]:
        """Take an edge.

        Args:
            edge: the next one, in order of time.
            at_once: whether a press counts as the button goes down: `Meaning.at_once` of the present state.

        Returns:
            What it amounts to, in order: mostly nothing or one event.
        """
        events = self.timeout(edge.at)
        self._contact = edge.pressed
        self._at_once = at_once
        return events if edge.at < self._quiet_at else events + self._settle(edge.at)

    def timeout(self, now: float) -> tuple[Pressed | Held, ...]:
        """Return what the passing of time amounts to; does nothing before the deadline."""
        events = self._settle(self._quiet_at) if now >= self._quiet_at else ()
        if self._held_at is not None and now >= self._held_at:
            self._held_at = None
            self._undecided = False
            events += (Held(),)
        return events

    def _settle(self, at: float) -> tuple[Pressed | Held, ...]:
        """Believe, from that time on, what the contact says."""
        if self._contact is self._down:
            return ()
        self._down = self._contact
        self._quiet_at = at + self._bounce_s
        if self._down:
            self._held_at = at + self._hold_s
            self._undecided = not self._at_once
            return (Pressed(),) if self._at_once else ()
        self._held_at = None
        undecided, self._undecided = self._undecided, False
        return (Pressed(),) if undecided else ()
