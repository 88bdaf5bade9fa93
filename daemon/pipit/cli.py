"""The commands; the only place that prints.

Exit status: 0 done, 1 something failed (said on standard error), 2 the configuration or the command line is wrong, 128 and a
signal's number: Ctrl-C (130), or nobody reads what is printed (141).

What takes long to import is imported by the command that needs it, where Ctrl-C is dealt with.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipit import __version__
from pipit.errors import ConfigError, PipitError

if TYPE_CHECKING:
    from pipit.config import Config

DEFAULT_CONFIG = Path("/etc/pipit/pipit.yaml")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    if sys.stdout is None:  # closed by who started this, as with >&-
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (for as long as this process lives)
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that knows no "…" gets \u2026
    options = _parser().parse_args(arguments)
    try:
        status: int = options.command(options)
        sys.stdout.flush()
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    except PipitError as error:
        print(f"pipit: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python still writes at its end
        if error.errno == errno.EPIPE:  # whoever read what is printed, such as `head`, has seen enough
            return 128 + signal.SIGPIPE
        print(f"pipit: {error.strerror}: {error.filename or 'what is printed goes to a full disk'}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pipit", description="A smart speaker that talks to any realtime voice agent.")
    parser.add_argument("--version", action="version", version=f"pipit {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    configured = argparse.ArgumentParser(add_help=False)
    configured.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help=f"default: {DEFAULT_CONFIG}")
    configured.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="override an option, e.g. audio.output.volume=40"
    )

    def add(name: str, command: object, summary: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=summary, description=summary, parents=list(parents))
        sub.set_defaults(command=command)
        return sub

    add("run", _run, "run the daemon", configured)
    sub = add("status", _status, "what the running daemon is doing")
    sub.add_argument("--json", action="store_true", help="one line of JSON")
    sub = add("volume", _volume, "print or set the volume of the running daemon, until its next start")
    sub.add_argument("percent", nargs="?", type=float, metavar="PERCENT", help="0 to 100")
    add("mute", _mute, "stop the microphone's stream")
    add("unmute", _unmute, "start it again")
    add("interrupt", _interrupt, "silence the present reply; Pipit listens")
    add("reload", _reload, "read the configuration again: volume, sounds and log level change at once")
    add("check", _check, "report every error in the configuration", configured)
    sub = add("config", _config, "print the effective configuration, the commented default file, or the JSON Schema", configured)
    sub.add_argument("what", nargs="?", choices=("show", "template", "schema"), default="show")
    add("devices", _devices, "list microphones and loudspeakers")
    add("models", _models, "list wake words and their licences")
    sub = add("meter", _meter, "show level, voice, scores and processor time of the ears, live (not beside the daemon)", configured)
    sub.add_argument("--seconds", type=_seconds, help="how long; default: until Ctrl-C")
    sub = add("doctor", _doctor, "look for faults (not beside the daemon)")
    actions = sub.add_subparsers(title="actions", required=True, metavar="ACTION")
    summary = "play a test sound: level at the microphone, delay, dB removed, and what to do"
    sub = actions.add_parser("echo", help=summary, description=summary, parents=[configured])
    sub.set_defaults(command=_doctor)
    sub = add("wake", _wake_test, "the wake word on recordings")
    actions = sub.add_subparsers(title="actions", required=True, metavar="ACTION")
    summary = "print the score curve of recordings"
    sub = actions.add_parser("test", help=summary, description=summary, parents=[configured])
    sub.add_argument("file", nargs="+", type=Path, metavar="FILE", help="WAV, any rate")
    sub.set_defaults(command=_wake_test)
    summary = "propose thresholds from the near misses and false wakes that were kept (near_misses.keep: true)"
    sub = actions.add_parser("tune", help=summary, description=summary, parents=[configured])
    sub.set_defaults(command=_wake_tune)
    sub = add("demo", _demo, "a whole conversation on this machine, without an account")
    sub.add_argument("--live", action="store_true", help="with this machine's microphone, loudspeaker and keyboard")
    sub.add_argument("--provider", choices=("openai", "fish", "local"), default="openai", help="whom the daemon talks to")
    sub.add_argument("--config", type=Path, metavar="FILE", help="default: config/demo.yaml, with --live config/demo-live.yaml")
    sub.add_argument("--folder", type=Path, default=Path("build/demo"), help="where the WAV files go; default: build/demo")
    sub = add("rehearse", _rehearse, "run the loop-back voice agent server that the demonstration talks to")
    sub.add_argument("--host", default="127.0.0.1")
    sub.add_argument("--port", type=int, default=8137)
    sub.add_argument("--misbehave", action="append", default=[], metavar="NAME[=VALUE]", help="a fault to show; may be repeated")
    sub.add_argument("--faults", action="store_true", help="list the faults that there are, and do nothing else")
    add("diagram", _diagram, "print the state machine as a Mermaid diagram")
    return parser


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if (seconds := float(text)) > 0:
            return seconds
    raise argparse.ArgumentTypeError(f"{text}: expected a number above 0")


def _run(options: argparse.Namespace) -> int:
    import asyncio
    import gc

    gc.disable()  # `app.run` turns it on: nothing of what is imported until then is garbage
    from pipit import app, config

    def load() -> config.Config:
        return config.load(options.config, options.set)

    asyncio.run(app.run(load(), load))
    return 0


def _status(options: argparse.Namespace) -> int:
    import json

    from pipit.system import control

    answer = control.ask("status")
    if options.json:
        print(json.dumps(answer))
    else:
        for name, value in answer.items():
            print(f"{name.replace('_', ' '):16} {value}")
    return 0


def _volume(options: argparse.Namespace) -> int:
    from pipit.system import control

    print(control.ask("volume", options.percent)["volume"])
    return 0


def _mute(options: argparse.Namespace) -> int:
    from pipit.system import control

    control.ask("mute", True)
    return 0


def _unmute(options: argparse.Namespace) -> int:
    from pipit.system import control

    control.ask("mute", False)
    return 0


def _interrupt(options: argparse.Namespace) -> int:
    from pipit.system import control

    control.ask("interrupt")
    return 0


def _reload(options: argparse.Namespace) -> int:
    from pipit.system import control

    answer = control.ask("reload")
    for path in answer["changed"]:
        print(f"{path}: changed")
    for path in answer["needs_restart"]:
        print(f"{path}: changes when Pipit is restarted")
    if not any(answer.values()):
        print("nothing has changed")
    return 0


def _check(options: argparse.Namespace) -> int:
    from pipit import app, config

    app.check(config.peruse(options.config, options.set))
    print(f"{options.config}: no errors")
    return 0


def _config(options: argparse.Namespace) -> int:
    import json

    from pipit import config

    if options.what == "template":
        print(config.template(), end="")
    elif options.what == "schema":
        print(json.dumps(config.schema(), indent=2))
    else:
        print(config.masked(config.load(options.config, options.set)), end="")
    return 0


def _devices(options: argparse.Namespace) -> int:
    from pipit.audio.portaudio import list_devices

    found = list_devices()
    for device in found:
        print(device)
    if not found:
        print("no sound devices were found: is one plugged in (lsusb), and is this user in the group audio (id)?", file=sys.stderr)
    return 0 if found else 1


def _models(options: argparse.Namespace) -> int:
    from pipit.wake.openwakeword import models

    print(f"{'model':<12} {'window':>7}  {'licence':<38}  {'package':<15}  file")
    for model in models():
        print(model)
    return 0


def _meter(options: argparse.Namespace) -> int:
    from pipit import meter

    def write(text: str) -> None:
        print(text, end="", flush=True)

    meter.run(_ears(options), write, terminal=sys.stdout.isatty(), seconds=options.seconds)
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from pipit import doctor

    options.set.append("wake={engine: off}")
    found = doctor.echo(_ears(options))
    for line in doctor.as_text(found):
        print(line)
    return 0 if found.works else 1


def _wake_test(options: argparse.Namespace) -> int:
    from pipit import curves, plugins

    engine = plugins.build("wake", _ears(options).wake)
    for path in options.file:
        for line in curves.as_text(str(path), curves.curve(engine, curves.read(path))):
            print(line)
    engine.close()
    return 0


def _wake_tune(options: argparse.Namespace) -> int:
    from pipit import clips, curves, plugins, tuning

    config = _ears(options)
    folder = Path(config.near_misses.folder)
    engine = plugins.build("wake", config.wake)
    words = getattr(config.wake.settings, "words", ())
    present = {name: word.threshold for name, word in zip(engine.words, words, strict=True)}
    try:
        kept = [clip for clip in clips.read(folder) if clip.word in present]
    except OSError as error:
        raise PipitError(f"{folder}: cannot be read ({error.strerror}); what the service keeps is for root: try sudo") from error
    scored = []
    for clip in kept:
        highest = curves.peaks(curves.curve(engine, curves.read(clip.path)))[clip.word]
        scored.append(tuning.Scored(clip.path.name, clip.kind, clip.word, highest))
    engine.close()
    for line in tuning.as_text(present, scored):
        print(line)
    if not kept:
        print(f"\n{folder} holds no clips: set near_misses.keep to true, and come back in a few days")
    return 0


def _ears(options: argparse.Namespace) -> Config:
    """Return the configuration of the microphone and the wake word; the service and its key, and a file, need not be there."""
    from pipit import config

    path = options.config
    if path == DEFAULT_CONFIG and not path.exists():
        path = Path(os.devnull)
    return config.load(path, [*options.set, "service={provider: openai, url: ws://127.0.0.1:9}"])


def _demo(options: argparse.Namespace) -> int:
    import asyncio

    from pipit import demo

    config = options.config or Path("config/demo-live.yaml" if options.live else "config/demo.yaml")
    return asyncio.run(
        demo.run(config, options.folder, provider=options.provider, live=options.live, say=lambda line: print(line, flush=True))
    )


def _rehearse(options: argparse.Namespace) -> int:
    import asyncio

    from pipit import rehearsal

    if options.faults:
        for fault, meaning in rehearsal.Misbehaviour.faults():
            print(f"{fault}\n    {meaning}")
        return 0
    faults = rehearsal.Misbehaviour.parse(options.misbehave)
    asyncio.run(rehearsal.serve(options.host, options.port, faults, say=lambda line: print(line, flush=True)))
    return 0


def _diagram(options: argparse.Namespace) -> int:
    from pipit.core import machine

    print(machine.diagram())
    return 0


if __name__ == "__main__":
    sys.exit(main())
