"""The vocabulary of the control plane: what can happen, and what can be done about it.

Events enter the machine, commands leave it. Both are immutable values without behaviour. Times are seconds of the event loop's
clock (time.monotonic).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. What has no fields of its own inherits the rest: it equals another of its class only."""


@dataclass(frozen=True, slots=True)
class Command:
    """Something to be done."""


# -- from the device ------------------------------------------------------------------------------------------------------------


class CaptureRunning(Event):
    """The microphone delivers sound."""


@dataclass(frozen=True, slots=True)
class CaptureLost(Event):
    """The microphone or the loudspeaker is gone; Pipit waits for it."""

    reason: str


@dataclass(frozen=True, slots=True)
class WakeHeard(Event):
    """A wake word was recognised."""

    word: str
    score: float
    """0 to 1."""
    position: int
    """Index, in samples at 16 kHz since capture began, of the end of the frame that crossed the threshold."""


class VoiceHeard(Event):
    """The local voice activity detector hears somebody; says nothing of who or what."""


class VoiceEnded(Event):
    """The local voice activity detector hears nobody any more. Not for the machine: it ends the turn where the service does not."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A button went down or up. Not for the machine: `core.gestures` turns edges into presses and holds."""

    pressed: bool
    at: float


class Pressed(Event):
    """A short press of the button."""


class Held(Event):
    """The button was held down for `button.hold_s`."""


@dataclass(frozen=True, slots=True)
class VoiceOver(Event):
    """Somebody talks over the reply: decided here, on sound from which the reply was taken out.

    The conversation makes the reply quieter. It passes the event on to the machine only where the service does not hear for itself,
    and only when they go on.
    """

    goes_on: bool = False
    """It has lasted for longer than a cough or a door."""


class VoiceOverEnded(Event):
    """It was nothing, or is over. Not for the machine: the conversation lets the reply be heard again."""


# -- from the conversation ------------------------------------------------------------------------------------------------------


class SessionReady(Event):
    """The service accepted the session; sound may be sent."""


class UserStarted(Event):
    """The person began to talk."""


class UserStopped(Event):
    """The person ended the turn."""


class ReplyExpected(Event):
    """The agent began a reply; nothing of it is audible yet."""


class ReplyAudible(Event):
    """The first sample of a reply that a person can hear left the loudspeaker."""


class ReplyFinished(Event):
    """The last sample of a reply left the loudspeaker, or the reply ended without any."""


class GreetingFinished(Event):
    """The last sample of a reply that nobody had asked for left the loudspeaker."""


class ToolsRunning(Event):
    """What was said of a reply is over, but the agent still waits for a tool, or is about to speak about its result."""


class ToolStillRuns(Event):
    """A tool takes long; an answer can't be expected yet. Said again and again while it lasts."""


class ReplyInterrupted(Event):
    """The service heard the person talk over the reply and stopped it."""


@dataclass(frozen=True, slots=True)
class SessionEnded(Event):
    """The service ended the session in good order."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class SessionFailed(Event):
    """The session cannot be opened or cannot go on."""

    reason: str
    retryable: bool = True


# -- from the clock and the operating system -------------------------------------------------------------------------------------


class TimePassed(Event):
    """`Machine.deadline` was reached."""


class ConversationTooLong(Event):
    """`conversation.max_minutes` is over; the machine makes this of `TimePassed` by itself."""


class StopRequested(Event):
    """SIGTERM, or the end of the demonstration."""


# -- commands --------------------------------------------------------------------------------------------------------------------


class OpenSession(Command):
    """Connect to the service and send what was said since the wake word."""


class CloseSession(Command):
    """Say goodbye and close the socket."""


class EndTurn(Command):
    """Tell the service that the person has finished."""


class Interrupt(Command):
    """Silence the reply at once and cancel it at the service."""


@dataclass(frozen=True, slots=True)
class PlayCue(Command):
    """Play a short sound: "wake", "done" or "error"."""

    name: str


class StopCapture(Command):
    """Stop the microphone's stream, so that nothing can be heard."""


class StartCapture(Command):
    """Start the microphone's stream again."""


class Exit(Command):
    """End the process in good order."""
