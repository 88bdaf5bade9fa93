"""The composition root: the only file that knows every part."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pipit import pins, plugins, remote
from pipit.audio.mixer import Mixer
from pipit.clips import Clips
from pipit.conductor import Conductor
from pipit.config import Choice, Config, Conversation, Reading, Sounds, changes
from pipit.core import events
from pipit.core.gestures import Gestures
from pipit.core.machine import ONE_QUESTION, TRANSITIONS, Limits, Machine, State
from pipit.cues import Cues
from pipit.echo.watch import Duplex, remember, watch
from pipit.errors import ConfigError
from pipit.gate import Gated
from pipit.hearing import Hearing
from pipit.lamp import Lamp
from pipit.services.budget import Caps
from pipit.services.durable import Durable
from pipit.services.link import Provider
from pipit.system import control, usage
from pipit.system import state as kept
from pipit.system.journal import Recorder, recorder
from pipit.system.notify import Pulse, Vitals, keep_fed, notifier
from pipit.tools import Controls
from pipit.tools.command import unusable
from pipit.tools.settings import Settings as Tools
from pipit.tools.toolbox import make
from pipit.wake import Detector, Engine, Wake

_SWITCH_S = 0.0005
"""Longest time a thread keeps the interpreter lock while an audio callback waits for it. The default of 5 ms makes callbacks of
20 ms late by up to 90 ms under load; 0.5 ms keeps them within 3 ms (measured with PortAudio on two cores)."""

_LAST_RESORT_S = 1.0
"""The session's own deadline says why it could not connect; the machine's, which cannot, comes this much later."""

_GATE_WRONG = (
    "the speech gate heard no voice where {!r} was said (score {:.2f}), as a check found. It stays open until Pipit is restarted; "
    "turn the microphone's gain up, or set gate.mode to 0"
)

_PATIENCE_S = 3.0
"""No sound processed for this long, with a microphone that claims to run: Pipit is deaf and lets the watchdog restart it."""

_LIVE = ("audio.output.volume", "log.level", "sounds.")
"""What a new configuration changes at once; the rest waits for a restart."""

_CHECKED = {"service": "services", "audio": "audio", "echo": "echo", "wake": "wake"}
"""Sections whose part is made for a check, and the folders that it is in; lights and buttons claim pins as they are made."""

_QUIETEST_DBFS, _LOUDEST_DBFS = -50.0, -10.0
"""Range of levels that the lights show."""


async def run(config: Config, reread: Callable[[], Config]) -> None:
    """Run the daemon until SIGTERM or SIGINT.

    Args:
        config: what the owner decided.
        reread: returns it as it is now, for `pipit reload`; may raise ConfigError.

    Raises:
        ConfigError: a part cannot be made of its settings.
        HardwareError: a button or light that is configured cannot be used.
        BaseException: whatever a thread or task of Pipit itself died of.
    """
    sys.setswitchinterval(_SWITCH_S)
    loop = asyncio.get_running_loop()
    clock = time.monotonic
    record = recorder(config.log.level, config.log.format)
    crashed: asyncio.Future[None] = loop.create_future()

    def failed(error: BaseException) -> None:
        if not crashed.done():
            crashed.set_exception(error)

    def failed_elsewhere(error: BaseException) -> None:
        loop.call_soon_threadsafe(failed, error)

    openers = _openers(config)
    device = plugins.build("audio", config.audio)
    engine = plugins.build("wake", config.wake)
    canceller = plugins.build("echo", config.echo)
    remember(canceller, kept.folder())
    duplex = Duplex(canceller, config.conversation.voice_barge_in)
    board = plugins.build("leds", config.leds)
    button = plugins.build("buttons", config.button)

    talk = config.conversation
    limits = Limits(
        connect_s=sum(choice.settings.connect_s for choice in _services(config)) + _LAST_RESORT_S,
        idle_s=talk.idle_s,
        utterance_s=talk.utterance_s,
        answer_s=talk.answer_s,
        reply_s=talk.reply_s,
        conversation_s=talk.max_minutes * 60,
    )
    machine = Machine(limits, TRANSITIONS if talk.follow_up else {**TRANSITIONS, **ONE_QUESTION}, now=clock())

    def post(event: events.Event) -> None:
        loop.call_soon_threadsafe(conductor.feed, event)

    def warn(topic: str, text: str) -> None:
        loop.call_soon_threadsafe(lambda: record(topic, text, level="warning"))

    ears = gated(engine, config, lambda wake: warn("gate", _GATE_WRONG.format(wake.word, wake.score)))
    clips = _clips(config, lambda text: warn("near_misses", text), clock)
    hearing = Hearing(device, ears, canceller, post, failed_elsewhere, clips)
    lamp = Lamp(board, lambda: _level(machine.state, hearing.level_dbfs, device.mixer.level_dbfs), clock, record)
    notify = notifier()
    cues = _cues(device.mixer, config.sounds, config.locate)

    def ring(label: str) -> None:
        cues.play("timer")
        record("timer", f"a timer rings: {label or 'without a name'}")

    def complain(text: str) -> None:
        record("tools", text, level="warning")

    mixer = device.mixer
    controls = Controls(lambda: mixer.volume, mixer.set_volume, ring, lambda: datetime.now().astimezone())
    with _located(config.locate):
        tools = make(config.tools, controls, complain)
    conductor = Conductor(
        machine,
        Gestures(config.button.settings.hold_s, config.button.settings.bounce_s),
        device,
        hearing,
        lamp,
        cues,
        Durable(openers, tools.declarations, _caps(talk, complain)),
        tools,
        notify,
        record,
        failed,
        full_duplex=duplex,
        clock=clock,
        changed=_unobserved if clips is None else clips.changed,
    )
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, conductor.feed, events.StopRequested())

    def vitals() -> Vitals:
        return Vitals(hearing.frames, machine.state not in (State.MUTED, State.STARTING))

    async def reload() -> Mapping[str, Any]:
        nonlocal config
        try:
            new = await asyncio.to_thread(reread)
            live, later = _apply(config, new, mixer, cues, record)
        except ConfigError as error:
            for problem in error.problems:
                record("config", problem, level="error")
            raise
        config = new
        said = [*(f"{path} changed" for path in live), *(f"{path} changes when Pipit is restarted" for path in later)]
        record("config", f"the configuration was read again: {'; '.join(said) or 'nothing has changed'}")
        return {"changed": live, "needs_restart": later}

    async def reload_on_signal() -> None:
        with suppress(ConfigError):  # recorded
            await reload()

    loop.add_signal_handler(signal.SIGHUP, lambda: conductor.spawn(reload_on_signal()))
    asked = remote.commands(conductor, device, hearing, lambda: str(duplex), reload)
    server = await control.serve(control.folder(), asked, record)

    button.start(conductor.post_edge)
    hearing.start()
    _keep_all()
    gc.enable()
    try:
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(lamp.run()),
                tasks.create_task(_prepare(openers, conductor.ready)),
                tasks.create_task(conductor.supervise()),
                tasks.create_task(keep_fed(notify, Pulse(_PATIENCE_S), vitals, record)),
                tasks.create_task(watch(canceller, duplex, kept.folder(), record)),
            ]
            await _first(conductor.stopped, crashed)
            for task in background:
                task.cancel()
    finally:
        if server is not None:
            server.close()
        await tools.close()
        button.close()
        hearing.stop()
        device.close()
        board.close()
        engine.close()
        if clips is not None:
            clips.close()


def _keep_all() -> None:
    """Have the collector, whose pauses would hold up the callbacks, never again look at what there is by now."""
    gc.freeze()


async def _prepare(providers: Iterable[Provider], ready: asyncio.Event) -> None:
    """Load what only a conversation needs, once Pipit listens."""
    await ready.wait()
    for provider in providers:
        await asyncio.to_thread(provider.open.prepare)
    _keep_all()


def check(reading: Reading) -> None:
    """Make every part that can be made without touching a device or the network, and let go of it again.

    Args:
        reading: a configuration; of sections that were read with problems no part is made.

    Raises:
        ConfigError: with the problems of reading and of all parts, in the order of the file.
    """
    sections = reading.sections
    wired = [(name, sections[name].settings) for name in ("leds", "button") if name in sections]
    problems = [reading.locate(problem) for problem in pins.conflicts(wired)]

    def attempt(make: Callable[[], Any]) -> None:
        try:
            made = make()
        except ConfigError as error:
            problems.extend(error.problems)
        else:
            getattr(made, "close", lambda: None)()

    for choice in reading.choices:
        folder = _CHECKED.get(choice.path.partition("[")[0])
        if folder is not None:
            attempt(partial(plugins.build, folder, choice))
    if "tools" in sections:
        attempt(lambda: _check_tools(sections["tools"], reading.locate))
    if "sounds" in sections:
        attempt(lambda: _cues(Mixer(48000), sections["sounds"], reading.locate))
    if merged := reading.merged(problems):
        raise ConfigError(*merged)


@contextmanager
def _located(locate: Callable[[str], str]) -> Iterator[None]:
    """Say of problems where they stand in the file."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(*map(locate, error.problems)) from error


def gated(engine: Engine, config: Config, missed: Callable[[Wake], None]) -> Detector:
    """Put the speech gate in front of a wake word engine, if the owner wants one and there is a word.

    Args:
        engine: what the configuration chose.
        config: says whether and how.
        missed: takes a wake word that the gate would have held back, from the thread that detects.
    """
    return Gated(engine, config.gate.mode, missed) if config.gate.enabled and engine.words else engine


def _clips(config: Config, complain: Callable[[str], None], clock: Callable[[], float]) -> Clips | None:
    kept = config.near_misses
    return Clips(Path(kept.folder), kept.most, complain, clock) if kept.keep else None


def _unobserved(state: State, event: events.Event) -> None:
    """Do nothing with a change of state."""


def _check_tools(settings: Tools, locate: Callable[[str], str]) -> None:
    with _located(locate):
        if problems := unusable(settings.command):
            raise ConfigError(*problems)
        make(settings, Controls(lambda: 0.0, lambda _: None, lambda _: None, datetime.now), lambda _: None)


def _services(config: Config) -> tuple[Choice, ...]:
    return (config.service, *config.service.alternatives)


def _openers(config: Config) -> list[Provider]:
    """Make the services, in the order of preference; raises the problems of all of them together."""
    made, problems = [], list[str]()
    for choice in _services(config):
        try:
            made.append(Provider(choice.name, plugins.build("services", choice)))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*problems)
    return made


def _caps(talk: Conversation, complain: Callable[[str], None]) -> Caps:
    """Return what limits conversations."""
    if talk.minutes_a_day is None:
        return Caps(talk.max_minutes * 60)
    allowance = usage.load(kept.folder(), talk.minutes_a_day * 60)

    def spent() -> None:
        if (problem := usage.save(kept.folder(), allowance)) is not None:
            complain(problem)

    return Caps(talk.max_minutes * 60, allowance, lambda: date.today().isoformat(), spent)


def _cues(mixer: Mixer, sounds: Sounds, locate: Callable[[str], str]) -> Cues:
    with _located(locate):
        return Cues(mixer, _chosen(sounds))


def _chosen(sounds: Sounds) -> Mapping[str, bool | str]:
    return {"wake": sounds.wake, "done": sounds.done, "error": sounds.error, "timer": sounds.timer}


def _apply(old: Config, new: Config, mixer: Mixer, cues: Cues, record: Recorder) -> tuple[list[str], list[str]]:
    """Apply what may change while Pipit runs; return the paths of what did, and of what waits for a restart."""
    live: list[str] = []
    later: list[str] = []
    for path in changes(old, new):
        (live if path.startswith(_LIVE) else later).append(path)
    with _located(new.locate):
        cues.choose(_chosen(new.sounds))
    record.keep(new.log.level)
    if "audio.output.volume" in live:  # else it stays as the person has set it by voice
        mixer.set_volume(new.audio.settings.output.volume)
    return live, later


async def _first(stopped: asyncio.Event, crashed: asyncio.Future[None]) -> None:
    """Return when Pipit has stopped; raise what it crashed of."""
    waiting = asyncio.ensure_future(stopped.wait())
    await asyncio.wait((waiting, crashed), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if crashed.done():
        crashed.result()


def _level(state: State, microphone_dbfs: float, loudspeaker_dbfs: float) -> float:
    """Return how far a light that follows the sound is lit, 0 to 1."""
    dbfs = loudspeaker_dbfs if state is State.SPEAKING else microphone_dbfs
    return min(1.0, max(0.0, (dbfs - _QUIETEST_DBFS) / (_LOUDEST_DBFS - _QUIETEST_DBFS)))
