"""The sections of the configuration, and the options of those that are not a plug-in's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipit.core.options import option
from pipit.errors import ConfigError
from pipit.plugins import Choice, located
from pipit.tools.settings import Settings as Tools


@dataclass(frozen=True)
class Conversation:
    """How long things may take, and who may interrupt whom."""

    follow_up: bool = option(True, "Whether you may go on talking after a reply without saying the wake word again.")
    idle_s: float = option(
        8, "How long Pipit listens for you to begin before it ends the conversation.", unit="s", minimum=1, maximum=120
    )
    utterance_s: float = option(60, "Longest thing you may say in one go; then it is answered.", unit="s", minimum=5, maximum=600)
    answer_s: float = option(30, "How long the service may take to begin its reply.", unit="s", minimum=5, maximum=300)
    reply_s: float = option(600, "Longest reply; then Pipit listens again.", unit="s", minimum=10, maximum=3600)
    minutes_a_day: float | None = option(
        None,
        "Longest time that conversations may take in a day altogether. Announced a minute before; then Pipit answers no more until "
        "midnight.",
        unit="min",
        minimum=1,
        maximum=1440,
    )
    max_minutes: float = option(
        15,
        "Longest conversation, since services charge by the minute; announced a minute before, and a reply is never cut by it.",
        unit="min",
        minimum=1,
        maximum=120,
    )
    voice_barge_in: str = option(
        "auto",
        "Whether you may interrupt a reply by talking. auto: where the echo canceller is good enough for it. "
        "The button and the wake word interrupt in any case.",
        choices=("auto", "always", "never"),
    )


@dataclass(frozen=True)
class Sounds:
    """Short sounds: true for the built-in one, false for none, or the path of a WAV file."""

    wake: bool | str = option(True, "When Pipit was called.", example="wake.wav", paths=(".wav",))
    done: bool | str = option(True, "When a conversation ends, and when the microphone is muted.", paths=(".wav",))
    error: bool | str = option(True, "When something went wrong.", paths=(".wav",))
    timer: bool | str = option(True, "When a timer rings, every two seconds.", paths=(".wav",))

    def __post_init__(self) -> None:
        chosen = {"wake": self.wake, "done": self.done, "error": self.error, "timer": self.timer}
        wrong = [(name, path) for name, path in chosen.items() if isinstance(path, str) and not path.lower().endswith(".wav")]
        if wrong:
            raise ConfigError(*(f'{name}: expected true, false or the path of a .wav file, found "{path}"' for name, path in wrong))


@dataclass(frozen=True)
class Gate:
    """The speech gate: the wake word's models run only while a voice detector hears somebody."""

    enabled: bool = option(True, "Saves 96 % of their cost in a quiet room, and what they hear while it is open is the same.")
    mode: int = option(
        1,
        "How sure of a voice WebRTC's detector must be, from 0 to 3. Measured: 2 loses one wake word in a hundred, 3 one in six at "
        "-50 dBFS; 0 and 1 take loud steady noise for a voice, which costs processor time and nothing else.",
        minimum=0,
        maximum=3,
    )


@dataclass(frozen=True)
class NearMisses:
    """What the wake word heard when it nearly woke, and when it woke: on this device only, for `pipit wake tune`."""

    keep: bool = option(False, "Whether five seconds of sound are kept as a WAV file each time. They are counted in any case.")
    most: int = option(100, "How many files are kept, 160 kB each; the oldest go first.", minimum=1, maximum=10000)
    folder: str = option("/var/lib/pipit/near-misses", "Where they are kept.", paths=("",))


@dataclass(frozen=True)
class Log:
    """What Pipit says about itself, and how."""

    level: str = option("info", "The least important records that are kept.", choices=("debug", "info", "warning", "error"))
    format: str = option(
        "auto",
        "auto: journal when systemd started Pipit, else text. json: one object a line on standard error.",
        choices=("auto", "journal", "text", "json"),
    )


@dataclass(frozen=True)
class Selection:
    """A section whose options depend on which plug-in is chosen in it."""

    folder: str
    """Where the plug-ins are."""
    key: str
    """The option that names one of them."""
    default: str
    doc: str
    """What the section is about, for the owner."""
    many: bool = False
    """The section may be a list: the first that works is used."""


SECTIONS: Mapping[str, Selection | type[Gate | NearMisses | Conversation | Tools | Sounds | Log]] = {
    "service": Selection(
        "services",
        "provider",
        "openai",
        "The voice service: who listens once Pipit was called, and answers. May be a list of such sections: where one cannot be "
        "reached or refuses, the next takes over, with what you have just said.",
        many=True,
    ),
    "audio": Selection("audio", "backend", "portaudio", "Microphone and loudspeaker."),
    "echo": Selection("echo", "engine", "hybrid", "Echo cancelling: takes Pipit's own voice out of what the microphone hears."),
    "wake": Selection("wake", "engine", "openwakeword", "The wake word."),
    "gate": Gate,
    "near_misses": NearMisses,
    "conversation": Conversation,
    "tools": Tools,
    "leds": Selection("leds", "driver", "gpio", "The lights."),
    "button": Selection(
        "buttons", "driver", "gpio", "The button: starts, interrupts and ends a conversation; held down, it mutes."
    ),
    "sounds": Sounds,
    "log": Log,
}
"""In the order of the file. `Config` has a field for each."""


@dataclass(frozen=True)
class Config:
    """All that the owner decided: a `Choice` where there is a plug-in to choose."""

    service: Choice
    audio: Choice
    echo: Choice
    wake: Choice
    gate: Gate
    near_misses: NearMisses
    conversation: Conversation
    tools: Tools
    leds: Choice
    button: Choice
    sounds: Sounds
    log: Log
    where: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Path of an option -> "FILE:LINE"."""

    def locate(self, problem: str) -> str:
        """Put "FILE:LINE: " in front of "PATH: what is wrong", where it stands in the file."""
        return located(problem, self.where)
