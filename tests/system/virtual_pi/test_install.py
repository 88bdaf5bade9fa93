"""Installing, updating and adding, in the words of the README."""

from __future__ import annotations

import re
from pathlib import Path

from tests.system.rig.pi import KEY, REHEARSAL_PORT, Pi

_README = Path(__file__).parents[3] / "README.md"
_URL = f"http://127.0.0.1:{REHEARSAL_PORT}"
_FISH = {
    "provider": "fish",
    "api_key": "!credential openai",
    "hear": {"url": _URL},
    "think": {"url": f"{_URL}/v1"},
    "speak": {"url": _URL},
}
_FORGET_FISH = "sed -i /fish/d /opt/pipit/extras; /opt/pipit/bin/python -m pip --quiet uninstall --yes msgpack 2>&1"
_BARE = """
systemctl disable --now pipit
rm -rf /opt/pipit /etc/pipit /etc/credstore.encrypted /usr/local/bin/pipit /usr/local/lib/systemd/system/pipit.service
systemctl daemon-reload
"""


def commands() -> list[str]:
    """Return what the README tells an owner to type on a Raspberry Pi."""
    block = re.search(r"## On a Raspberry Pi\n[\s\S]*?\n\n((?:    .*\n)+)", _README.read_text())
    assert block is not None
    return [line.partition("  #")[0].strip() for line in block[1].splitlines()]


def test_the_readmes_commands_lead_from_nothing_to_a_running_service(pi: Pi) -> None:
    pi.run(_BARE)
    try:
        type_all(pi, commands())
    finally:
        pi.store_key()
    assert pi.run("systemctl is-active pipit; systemctl is-enabled pipit").output == "active\nenabled\n"


def type_all(pi: Pi, typed: list[str]) -> None:
    """Type what an owner types, who edits the file as a test does."""
    assert typed[0] == "sudo make install"
    said = pi.install()
    assert [line.strip().partition("  ")[0] for line in said.partition("to do:\n")[2].splitlines()] == typed[1:], said
    for command in typed[1:]:
        asked = command.removeprefix("sudo ")
        match asked.split()[0]:
            case "systemd-creds":
                pi.run(f"printf %s {KEY} | {asked}")
            case "nano":
                assert "hey_jarvis" in pi.run(asked.replace("nano", "cat")).output, "there is nothing to edit"
                pi.configure()
            case "journalctl":
                assert "ready: " in pi.run(asked.replace("-f", "-b")).output
            case _:
                pi.run(asked)


def test_an_update_keeps_the_configuration_and_the_extras_and_restarts_the_service(speaker: Pi) -> None:
    before = speaker.main_pid()
    speaker.run(f"{_FORGET_FISH}; echo fish >> /opt/pipit/extras")
    configured = speaker.run("cat /etc/pipit/pipit.yaml").output
    assert "Restarting Pipit" in speaker.install()
    assert speaker.run("cat /etc/pipit/pipit.yaml").output == configured
    assert speaker.run("cmp /etc/pipit/pipit.yaml.new /share/checkout/config/pipit.yaml").output == ""
    assert speaker.main_pid() not in (0, before)
    speaker.run("/opt/pipit/bin/python -c 'import msgpack'")


def test_what_check_says_is_missing_is_installed_by_the_command_it_names(pi: Pi) -> None:
    pi.run(f"systemctl stop pipit; {_FORGET_FISH}")
    pi.configure(service=_FISH, tools={"clock": False})
    checked = pi.run("pipit check", check=False)
    assert checked.status == 2
    remedy = re.search(r"sudo make install (EXTRAS=\w+)", checked.output)
    assert remedy is not None, checked.output
    pi.install(remedy[1])
    pi.run("pipit check")
    pi.start(service=_FISH, tools={"clock": False})
    said = pi.say("hey jarvis what time is it")
    speaking = pi.until_state("speaking", said)
    pi.until(lambda: pi.loud(speaking.at))
