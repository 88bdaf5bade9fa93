"""The commands; the only place that prints.

Exit status: 0 done, 1 something failed (said on standard error), 2 the configuration or the command line is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pipit import __version__
from pipit.errors import ConfigError, PipitError

DEFAULT_CONFIG = Path("/etc/pipit/pipit.yaml")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.command(options)
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    except PipitError as error:
        print(f"pipit: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
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
    sub = add("demo", _demo, "a whole conversation on this machine, without an account")
    sub.add_argument("--live", action="store_true", help="with this machine's microphone, loudspeaker and keyboard")
    sub.add_argument("--config", type=Path, metavar="FILE", help="default: config/demo.yaml, with --live config/demo-live.yaml")
    sub.add_argument("--folder", type=Path, default=Path("build/demo"), help="where the WAV files go; default: build/demo")
    sub = add("rehearse", _rehearse, "run the loop-back voice agent server that the demonstration talks to")
    sub.add_argument("--host", default="127.0.0.1")
    sub.add_argument("--port", type=int, default=8137)
    sub.add_argument("--misbehave", action="append", default=[], metavar="NAME[=VALUE]", help="a fault to show; may be repeated")
    add("diagram", _diagram, "print the state machine as a Mermaid diagram")
    return parser


def _run(options: argparse.Namespace) -> int:
    from pipit import app, config

    def load() -> config.Config:
        return config.load(options.config, options.set)

    asyncio.run(app.run(load(), load))
    return 0


def _status(options: argparse.Namespace) -> int:
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
    return 0


def _check(options: argparse.Namespace) -> int:
    from pipit import app, config

    app.check(config.load(options.config, options.set))
    print(f"{options.config}: no errors")
    return 0


def _config(options: argparse.Namespace) -> int:
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
        print("no sound devices were found", file=sys.stderr)
    return 0 if found else 1


def _models(options: argparse.Namespace) -> int:
    from pipit.wake.openwakeword import models

    for model in models():
        print(model)
    return 0


def _demo(options: argparse.Namespace) -> int:
    from pipit import demo

    config = options.config or Path("config/demo-live.yaml" if options.live else "config/demo.yaml")
    return asyncio.run(demo.run(config, options.folder, live=options.live, say=lambda line: print(line, flush=True)))


def _rehearse(options: argparse.Namespace) -> int:
    from pipit import rehearsal

    faults = rehearsal.Misbehaviour.parse(options.misbehave)
    asyncio.run(rehearsal.serve(options.host, options.port, faults, say=lambda line: print(line, flush=True)))
    return 0


def _diagram(options: argparse.Namespace) -> int:
    from pipit.core import machine

    print(machine.diagram())
    return 0


if __name__ == "__main__":
    sys.exit(main())
