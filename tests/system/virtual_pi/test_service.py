"""Pipit as a systemd service: start, status, journal, watchdog, sandbox, secrets."""

from __future__ import annotations

import time

from tests.system.rig.install import PYTHON
from tests.system.rig.pi import KEY, Pi

_UNIT = "pipit.service"


def test_start_returns_only_when_capture_runs(pi: Pi) -> None:
    began = pi.start()
    state = pi.run("cat /proc/asound/card0/pcm0c/sub0/status; systemctl is-active pipit").output
    assert state.startswith("state: RUNNING"), state
    assert state.endswith("active\n")
    assert pi.until(lambda: pi.journal(began, PIPIT_EVENT="ready"))


def test_start_waits_for_a_microphone_that_is_missing(pi: Pi) -> None:
    pi.run("systemctl stop pipit")
    pi.configure()
    began = pi.now()
    with pi.without_sound_card():
        pi.run("systemctl start --no-block pipit")
        pi.until(lambda: pi.journal(began, PIPIT_EVENT="device_missing"))
        assert pi.run("systemctl is-active pipit", check=False).output.strip() == "activating"
        assert "Speakerphone" in pi.status_text()
    pi.until_state("idle", began)
    assert pi.comes_true(lambda: pi.run("systemctl is-active pipit", check=False).output == "active\n", 5)


def test_status_shows_what_pipit_is_doing(speaker: Pi) -> None:
    assert 'Status: "waiting for the wake word"' in speaker.run("systemctl status --no-pager pipit").output
    pressed = speaker.press()
    speaker.until_state("listening", pressed)
    assert 'Status: "listening"' in speaker.run("systemctl status --no-pager pipit").output


def test_journalctl_finds_the_wake(speaker: Pi) -> None:
    began = speaker.say("hey jarvis what time is it")
    speaker.until(lambda: speaker.journal(began, PIPIT_EVENT="wake"))
    found = speaker.run(f"journalctl --unit=pipit PIPIT_EVENT=wake --output=cat --since='-{speaker.now() - began + 1:.0f}s'").output
    assert found.count("\n") == 1, found
    assert "hey_jarvis" in found


def test_systemd_finds_nothing_wrong_with_the_unit(pi: Pi) -> None:
    verified = pi.run(f"systemd-analyze verify --man=no {_UNIT}")
    assert [line for line in verified.output.splitlines() if "pipit" in line] == []


def test_systemd_rates_the_sandbox_at_most_2_5(pi: Pi) -> None:
    rated = pi.run(f"systemd-analyze security --no-pager {_UNIT}").output.strip().splitlines()[-1]
    assert float(rated.split(": ")[1].split()[0]) <= 2.5, rated


def test_frozen_process_is_killed_by_the_watchdog_and_comes_back(speaker: Pi) -> None:
    frozen = speaker.main_pid()
    began = speaker.now()
    speaker.run(f"kill -STOP {frozen}")
    # 10 s of watchdog, 5 s for a process that does not answer SIGABRT, 2 s before it is started again, and the start.
    speaker.until_state("idle", began, timeout_s=30)
    assert speaker.main_pid() not in (0, frozen)
    assert speaker.run("systemctl show pipit --property=NRestarts --value").output == "1\n"
    assert any("Watchdog timeout" in record["MESSAGE"] for record in speaker.journal(began))
    said = speaker.say("hey jarvis what time is it")
    speaker.until(lambda: speaker.journal(said, PIPIT_EVENT="wake"))


def test_sound_card_unplugged_and_plugged_in_again_is_survived(speaker: Pi) -> None:
    before = speaker.main_pid()
    began = speaker.now()
    with speaker.without_sound_card():
        speaker.until_state("starting", began)
        assert speaker.journal(began, PIPIT_EVENT="device_lost")
    plugged = speaker.now()
    speaker.until_state("idle", plugged)
    speaker.listen()
    said = speaker.say("hey jarvis what time is it")
    speaker.until(lambda: speaker.journal(said, PIPIT_EVENT="wake"))
    speaker.until(lambda: speaker.loud(said))
    assert speaker.main_pid() == before


def test_service_runs_as_its_own_user_without_privileges(speaker: Pi) -> None:
    status = speaker.run(f"cat /proc/{speaker.main_pid()}/status; id -u pipit").output.splitlines()
    fields = dict(line.split(":\t", 1) for line in status if ":\t" in line)
    assert fields["Uid"].split() == [status[-1]] * 4
    assert status[-1] != "0"
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"


def test_credential_reaches_the_service_and_nobody_else(speaker: Pi) -> None:
    daemon = speaker.main_pid()
    assert KEY not in speaker.run(f"tr '\\0' '\\n' < /proc/{daemon}/environ; tr '\\0' ' ' < /proc/{daemon}/cmdline").output
    assert speaker.run(f"grep -rl {KEY} /etc/pipit /etc/credstore.encrypted", check=False).output == ""
    credential = f"/run/credentials/{_UNIT}/openai"
    other = speaker.run(f"setpriv --reuid=nobody --regid=nogroup --clear-groups cat {credential}", check=False)
    assert other.status != 0
    assert "Permission denied" in other.output
    assert speaker.run(f"cat {credential}").output == KEY, "this path is not the credential, and proves nothing"
    pressed = speaker.press()
    opened = speaker.until(lambda: [wired for wired in speaker.wire(pressed) if wired.type == "opened"])
    assert opened.message["authorization"] == f"Bearer {KEY}"
    assert speaker.run(f"journalctl -b --no-pager -o export | grep -c {KEY}", check=False).output == "0\n"


def test_nothing_is_opened_or_sent_before_the_wake_word(pi: Pi) -> None:
    def sent() -> int:
        return int(pi.run("systemctl show pipit --property=IPEgressPackets --value").output)

    def sockets() -> str:
        return pi.run(f"ss -Htuwanp | grep pid={pi.main_pid()},", check=False).output

    drop_in = "/run/systemd/system/pipit.service.d/count.conf"
    pi.run(f"mkdir -p $(dirname {drop_in}) && printf '[Service]\\nIPAccounting=yes\\n' > {drop_in} && systemctl daemon-reload")
    try:
        pi.start()
        pi.say("good morning everybody what a beautiful day")
        for _ in range(20):
            assert sockets() == ""
            time.sleep(0.1)
        assert sent() == 0
        said = pi.say("hey jarvis what time is it")
        pi.until_state("listening", said)
        assert sent() > 0, "the kernel's counter does not count, and proves nothing"
        assert sockets() != ""
    finally:
        pi.run(f"systemctl stop pipit; rm -r $(dirname {drop_in}); systemctl daemon-reload")


def test_owner_reaches_the_sandboxed_service_and_nobody_else_does(speaker: Pi) -> None:
    assert "waiting for the wake word" in speaker.run("pipit status").output
    assert speaker.run("pipit volume 35").output.strip().endswith("35")
    refused = speaker.run("setpriv --reuid=nobody --regid=nogroup --clear-groups pipit status", check=False)
    assert refused.status != 0
    assert "try sudo" in refused.output


def test_member_of_the_group_mutes_and_unmutes_from_a_shell(speaker: Pi) -> None:
    def pipit(command: str) -> str:
        return speaker.run(f"setpriv --reuid=nobody --regid=nogroup --groups=pipit pipit {command}").output

    muted = speaker.now()
    pipit("mute")
    speaker.until_state("muted", muted)
    assert "muted" in pipit("status")
    unmuted = speaker.now()
    pipit("unmute")
    speaker.until_state("idle", unmuted)
    assert "waiting for the wake word" in pipit("status")


def test_what_echo_cancelling_keeps_is_written_in_the_sandbox_and_read_at_each_start(pi: Pi) -> None:
    drop_in = "/run/systemd/system/pipit.service.d/keep.conf"
    pi.run("systemctl stop pipit; rm -f /var/lib/pipit/echo.bin")
    # It runs where the daemon does, as the same user, and writes with the daemon's own code.
    imports = "import numpy as np; from pipit.echo.memory import Memory, save; from pipit.system.state import folder"
    keep = f"{imports}; save(folder(), Memory(np.ones(3200, np.float32), 0.0, 0.0, np.zeros(14, np.float32)))"
    unit = f"[Service]\\nExecStartPre={PYTHON} -c '{keep}'\\n"
    pi.run(f'mkdir -p $(dirname {drop_in}) && printf "{unit}" > {drop_in} && systemctl daemon-reload')
    try:
        pi.start()
    finally:
        pi.run(f"rm -r $(dirname {drop_in}); systemctl daemon-reload")
    assert pi.run("stat -c '%U %a' /var/lib/pipit/echo.bin").output == "pipit 600\n"
    restarted = pi.start()
    remembered = pi.until(lambda: pi.journal(restarted, PIPIT_EVENT="echo"))
    assert remembered["PIPIT_VERDICT"] == "works", remembered["MESSAGE"]
    assert pi.loud(restarted) == [], "it has spoken already, and proves nothing"


def test_held_button_mutes_and_the_sound_card_records_no_more(speaker: Pi) -> None:
    def records() -> bool:
        return speaker.run("cat /proc/asound/card0/pcm0c/sub0/status").output.startswith("state: RUNNING")

    assert records()
    held = speaker.press(1.8)
    speaker.until_state("muted", held)
    assert speaker.comes_true(lambda: not records(), 1)
    said = speaker.say("hey jarvis what time is it")
    assert not records()
    assert speaker.journal(said, PIPIT_EVENT="wake") == []
    held = speaker.press(1.8)
    speaker.until_state("idle", held)
    said = speaker.say("hey jarvis what time is it")
    speaker.until(lambda: speaker.journal(said, PIPIT_EVENT="wake"))
