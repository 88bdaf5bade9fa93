"""The demonstration: somebody talks to the real daemon, on a machine without sound card, pins or account.

It writes the WAV that the daemon will hear, starts the rehearsal server in this process and `pipit run` in another, watches the
daemon's records, and presses its button through a pipe. What it claims at the end it has checked: see `_Proof`.

With provider `fish` the daemon chains speech to text, a language model and text to speech, all of them played by the rehearsal
server; with `local` there is no server, and not one internet socket: the daemon's are watched all the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipit.audio.wav import read_wav, write_wav
from pipit.core.pcm import dbfs
from pipit.errors import ConfigError, PipitError
from pipit.offline.espeak import synthesise
from pipit.rehearsal import Rehearsal

Say = Callable[[str], None]
RecordLine = Mapping[str, Any]

RATE_HZ = 48000
QUESTION, STORY, HELP = "what time is it", "tell me a long story", "what can you do"
WAKE_WORD = "hey jarvis"
VOICE = "en-gb"
"""The espeak-ng voice whose "hey jarvis" openWakeWord's model hears best."""

_ASKED_S = (2.0, 15.0)
"""When the two requests are spoken: the first conversation has ended by the second."""
_ROOM_DBFS, _SPEECH_DBFS = -60.0, -26.0
_PATIENCE_S = 90.0
_REPLY_DBFS = -50.0
"""What a second of the loudspeaker's WAV with speech in it is louder than."""
_WATCH_S = 0.02


@dataclass(frozen=True)
class _Play:
    """What is played with a provider."""

    request: str = STORY
    """What is asked the second time: the answer is long enough to be cut off."""
    listen_s: float = 4.0
    """How long that answer is listened to before the button is pressed."""


PLAYS: Mapping[str, _Play] = {"openai": _Play(), "fish": _Play(), "local": _Play(HELP, 2.0)}
"""By provider."""


async def run(config: Path, folder: Path, *, provider: str = "openai", live: bool, say: Say) -> int:
    """Run the demonstration; return 0 only if all of it really happened.

    Args:
        config: the daemon's configuration.
        folder: for the two WAV files; made if missing.
        provider: one of `PLAYS`.
        live: with this machine's own microphone, loudspeaker and keyboard.
        say: takes the lines that a person reads.

    Raises:
        PipitError: something that is needed is missing, the folder cannot be used, or the daemon did not start.
    """
    if not await asyncio.to_thread(config.is_file):
        raise ConfigError(f"{config}: there is no such file; run this in Pipit's own folder, or name a file with --config")
    if live:
        return await _live(config, provider, say)
    with _claimed(folder):
        return await _recorded(config, folder, provider, say)


@contextlib.contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Keep a folder for this demonstration, made if it is missing; two in one would hear each other's WAV."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        claim = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _unusable(folder, error) from error
    try:
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PipitError(f"{folder}: another demonstration is running here; give --folder another folder") from None
        except OSError:
            pass  # some network file systems lock no folders; that is no reason to refuse
        yield
    finally:
        os.close(claim)


def _unusable(path: Path, error: OSError) -> PipitError:
    return PipitError(f"{path}: the demonstration cannot write there ({error.strerror}); give --folder another folder")


async def _recorded(config: Path, folder: Path, provider: str, say: Say) -> int:
    """The same with WAV files for sound card."""
    play = PLAYS[provider]
    heard, played = folder / "heard.wav", folder / "played.wav"
    say("Somebody's voice is being synthesised (espeak-ng) ...")
    tape = await asyncio.to_thread(_tape, play.request)
    try:
        write_wav(heard, tape, RATE_HZ)
    except OSError as error:
        raise _unusable(heard, error) from error
    async with _rehearsal(provider, say) as server:
        files = [f"audio.input.path={heard}", f"audio.output.path={played}"]
        daemon = _Daemon(config, [*files, *_service(provider, server)], say)
        await daemon.start()
        first_s, second_s = _ASKED_S
        say(f'At {first_s:.0f} s somebody says "{WAKE_WORD}, {QUESTION}", at {second_s:.0f} s "{WAKE_WORD}, {play.request}".\n')
        watched = asyncio.create_task(daemon.watch_sockets()) if server is None else None
        opened_early: bool | None = None
        try:
            async with asyncio.timeout(_PATIENCE_S):
                opened_early = await _follow(daemon, server, play.listen_s, say)
        except TimeoutError:
            say(f"\nThis took longer than {_PATIENCE_S:.0f} s and was given up.")
        status = await daemon.stop()
        sockets = await watched if watched is not None else None
    _show_turns(daemon, say)
    proof = _Proof(say)
    proof.check("the daemon ended in good order", status == 0)
    proof.check("no socket was open before the wake word", opened_early is False)
    turns = daemon.of("turn")
    proof.check("the first reply was played to its end", bool(turns) and not turns[0]["interrupted"] and turns[0]["reply_ms"] > 500)
    proof.check("the button cut the second one off", len(turns) == 2 and turns[1]["interrupted"] is True)
    _prove(proof, daemon, server, provider, sockets)
    _prove_played(proof, turns, played, play.request)
    say(f"\nWhat the microphone heard:       {heard}\nWhat the loudspeaker played:     {played}")
    say("\nAll of it really happened." if proof.holds else "\nNot all of it happened: see above.")
    return 0 if proof.holds else 1


@contextlib.asynccontextmanager
async def _rehearsal(provider: str, say: Say) -> AsyncIterator[Rehearsal | None]:
    """Run the server that a provider needs: none, where there is no network."""
    if provider == "local":
        yield None
        return
    say("The rehearsal server is being started ...")
    async with Rehearsal() as server:
        yield server


def _service(provider: str, server: Rehearsal | None) -> list[str]:
    """Return what the daemon is told of its service."""
    chosen = [f"service.provider={provider}"]
    if server is None:
        return chosen
    if provider == "fish":
        urls = {"hear": server.http, "think": f"{server.http}/v1", "speak": server.http}
        # The rehearsal's model knows the time by itself; what a tool answers it reads out to the letter.
        return [*chosen, "tools.clock=false", *(f"service.{stage}.url={url}" for stage, url in urls.items())]
    return [*chosen, f"service.url={server.url(provider)}"]


async def _follow(daemon: _Daemon, server: Rehearsal | None, listen_s: float, say: Say) -> bool:
    """Follow the story to its end; return whether a socket had been opened before the wake word."""
    await daemon.until("ready")
    opened_early = server is not None and server.connections > 0
    await daemon.until("wake")
    await daemon.until("turn")
    await daemon.until("state", state="idle", previous="listening")
    await daemon.until("wake", count=2)
    await daemon.until("state", state="speaking", count=2)
    await asyncio.sleep(listen_s)
    say("                the button is pressed")
    daemon.press()
    await daemon.until("turn", count=2)
    await daemon.until("state", state="idle", previous="listening", count=2)
    return opened_early


def _tape(request: str) -> NDArray[np.int16]:
    """Return what the microphone will hear: two requests, each in one breath with the wake word, in a room with some noise."""
    requests = [synthesise(f"{WAKE_WORD}, {text}", RATE_HZ, voice=VOICE, speed=150) for text in (QUESTION, request)]
    length = round((_ASKED_S[-1] + 3) * RATE_HZ) + len(requests[-1])
    room = np.random.default_rng(1).standard_normal(length)
    tape = room * 32768 * 10 ** (_ROOM_DBFS / 20)
    for at_s, request_sound in zip(_ASKED_S, requests, strict=True):
        start = round(at_s * RATE_HZ)
        tape[start : start + len(request_sound)] += request_sound * 10 ** ((_SPEECH_DBFS - dbfs(request_sound)) / 20)
    return np.clip(np.rint(tape), -32768, 32767).astype(np.int16)


def _prove(proof: _Proof, daemon: _Daemon, server: Rehearsal | None, provider: str, sockets: int | None) -> None:
    woken = len(daemon.of("wake")) == 2
    if server is None:
        heard = [str(record["text"]) for record in daemon.of("heard")]
        proof.check("the wake word was heard twice", woken)
        proof.check(f'"{QUESTION}" and "{HELP}" were understood on this device', heard == [QUESTION, HELP])
        proof.check("not one internet socket was seen open", sockets == 0)
    elif provider == "fish":
        _prove_cascade(proof, daemon, server, woken)
    else:
        _prove_agent(proof, daemon, server, woken)


def _prove_agent(proof: _Proof, daemon: _Daemon, server: Rehearsal, woken: bool) -> None:
    """Check what the server of one socket has seen."""
    turns = daemon.of("turn")
    heard = [text for session in server.sessions for text in session.heard]
    proof.check("the wake word was heard twice, and each time one socket was opened", woken and server.connections == 2)
    proof.check(
        f'the service understood "{QUESTION}" and "{STORY}"', len(heard) == 2 and QUESTION in heard[0] and STORY in heard[1]
    )
    proof.check("24 kHz PCM16 reached it", all(len(session.received) > 24000 for session in server.sessions))
    messages = [message for session in server.sessions[1:] for message in session.messages]
    cut = [m["audio_end_ms"] for m in messages if m["type"] == "conversation.item.truncate"]
    proof.check("the service learned how much of it was heard", len(turns) == 2 and cut == [turns[1]["reply_ms"]])


def _prove_cascade(proof: _Proof, daemon: _Daemon, server: Rehearsal, woken: bool) -> None:
    """Check what the servers of the three stages have seen."""
    proof.check("the wake word was heard twice", woken)
    heard = [str(record["text"]) for record in daemon.of("heard")]
    proof.check(f'speech to text understood "{QUESTION}" and "{STORY}"', heard == [QUESTION, STORY])
    asked = [exchange.asked["messages"][-1]["content"] for exchange in server.exchanges if exchange.protocol == "completions"]
    proof.check("the language model was asked both", all(request in asked for request in (QUESTION, STORY)))
    live = [session for session in server.sessions if session.messages]
    proof.check("the answers were spoken over live sockets", len(live) >= 2)


def _prove_played(proof: _Proof, turns: list[RecordLine], played: Path, request: str) -> None:
    expected_s = sum(turn["reply_ms"] for turn in turns) / 1000
    sounding_s = _speech_s(played)
    text = f'the loudspeaker\'s WAV holds {expected_s:.1f} s of replies and nothing of the rest of the answer to "{request}"'
    proof.check(text, expected_s > 2.5 and abs(sounding_s - expected_s) < 1.5)


def _speech_s(played: Path) -> float:
    """Return for how long something spoke in a WAV: spans of at least half a second of sound, with their short pauses."""
    samples, rate_hz = read_wav(played)
    mono, window = samples[:, 0], rate_hz // 20
    loud = [dbfs(mono[start : start + window]) > _REPLY_DBFS for start in range(0, len(mono), window)]
    places = np.flatnonzero(loud)
    spans = np.split(places, np.flatnonzero(np.diff(places) > 10) + 1)
    return float(sum(len(span) and span[-1] - span[0] + 1 for span in spans if len(span) and span[-1] - span[0] >= 10)) / 20


class _Proof:
    """What was claimed, and whether it is so."""

    def __init__(self, say: Say) -> None:
        self.holds = True
        self._say = say

    def check(self, claim: str, true: bool) -> None:
        self.holds = self.holds and true
        self._say(f"  {'yes' if true else 'NO '}  {claim}")


_TIMELINE = (
    ("wake_score", "wake word's score", ""),
    ("wake_to_socket_ms", "wake word -> session ready", "ms"),
    ("end_of_speech_to_audible_ms", "end of speech -> first audible sample", "ms"),
    ("end_of_turn_to_audible_ms", "service ended the turn -> first audible sample", "ms"),
    ("first_audio_to_audible_ms", "first sound received -> first audible sample", "ms"),
    ("reply_ms", "reply heard", "ms"),
    ("gaps", "gaps in the reply", ""),
    ("interrupted", "interrupted", ""),
)


def _show_turns(daemon: _Daemon, say: Say) -> None:
    for number, turn in enumerate(daemon.of("turn"), 1):
        say(f"\nTurn {number}")
        for key, words, unit in _TIMELINE:
            if turn.get(key) is not None:
                say(f"  {words:<48} {str(turn[key]).lower():>6} {unit}".rstrip())
    say("")


class _Daemon:
    """`pipit run` as a child process: its records are read, its lights are shown, its button is a pipe."""

    def __init__(self, config: Path, overrides: list[str], say: Say) -> None:
        self._command = [sys.executable, "-m", "pipit.cli", "run", "--config", str(config)]
        self._command += [word for override in overrides for word in ("--set", override)]
        self._say = say
        self._records: list[RecordLine] = []
        self._news = asyncio.Event()
        self._readers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._began = time.monotonic()
        pipe = subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe, stderr=pipe, limit=1 << 22)
        self._readers = [asyncio.create_task(self._read_records()), asyncio.create_task(self._read_lights())]

    def press(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")

    async def watch_sockets(self) -> int:
        """Return, when it has ended, the most internet sockets that it was seen to have open."""
        most, process = 0, Path(f"/proc/{self._process.pid}")
        while self._process.returncode is None:
            most = max(most, await asyncio.to_thread(_internet_sockets, process))
            await asyncio.sleep(_WATCH_S)
        return most

    async def stop(self) -> int:
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        status = await self._process.wait()
        await asyncio.gather(*self._readers)
        return status

    def of(self, event: str, **fields: Any) -> list[RecordLine]:
        """Return the records of a kind, with these fields, so far."""
        return [r for r in self._records if r["event"] == event and all(r.get(k) == v for k, v in fields.items())]

    async def until(self, event: str, count: int = 1, **fields: Any) -> None:
        """Wait for a record; `count`: for the so-manieth of its kind."""
        while len(self.of(event, **fields)) < count:
            if self._process.returncode is not None:
                raise PipitError("the daemon has ended; see above")
            self._news.clear()
            await self._news.wait()

    async def _read_records(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            try:
                record: RecordLine = json.loads(line)
            except ValueError:
                self._say(line.decode(errors="replace").rstrip())
                continue
            self._records.append(record)
            self._news.set()
            if record["event"] in ("wake", "heard", "fault", "device_lost", "device_missing"):
                self._show(record["message"])
        await self._process.wait()  # it closes its end of the pipe a little before it has ended
        self._news.set()

    async def _read_lights(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self._show(line.decode(errors="replace").rstrip())

    def _show(self, text: str) -> None:
        self._say(f"{time.monotonic() - self._began:6.2f} s  {text}")


def _internet_sockets(process: Path) -> int:
    """Count the internet sockets of a process: its open files, looked up in the kernel's tables."""
    files = []
    try:
        for file in (process / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                files.append(os.readlink(file))
        tables = [(process / "net" / name).read_text().splitlines()[1:] for name in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6")]
    except OSError:
        return 0  # the process has ended
    inodes = {line.split()[9] for table in tables for line in table}
    return sum(file.removeprefix("socket:[").removesuffix("]") in inodes for file in files if file.startswith("socket:["))


async def _live(config: Path, provider: str, say: Say) -> int:
    """The same with a person: the daemon has the terminal, so that its button is the keyboard; this process has the server."""
    async with _rehearsal(provider, say) as server:
        request = PLAYS[provider].request
        say(f'Say "{WAKE_WORD}, {QUESTION}", then "{WAKE_WORD}, {request}". Enter is the button, m mutes, Ctrl-C ends.\n')
        command = [sys.executable, "-m", "pipit.cli", "run", "--config", str(config)]
        command += [word for override in _service(provider, server) for word in ("--set", override)]
        process = await asyncio.create_subprocess_exec(*command)
        try:
            return await process.wait()
        except asyncio.CancelledError:  # Ctrl-C went to both; let the daemon say goodbye
            await process.wait()
            raise
