"""A conversation with the rehearsal server: spoken into the sound card, seen at the LEDs, the wire and the loudspeaker."""

from __future__ import annotations

import pytest

from tests.system.rig.pi import Pi, Record

_OVERLAP_S = 0.1
"""The recorder's own delay, two of its periods and a block."""


def story_begins(speaker: Pi) -> Record:
    """Ask for a story, which takes most of a minute; return the record of Pipit beginning to speak."""
    said = speaker.say("hey jarvis tell me a story")
    speaking = speaker.until_state("speaking", said)
    speaker.until(lambda: [level for level in speaker.loud(speaking.at)][50:])  # a second of it has been heard
    return speaker.until_state("speaking", said)


def test_wake_word_opens_a_conversation_and_the_leds_show_it_in_order(speaker: Pi) -> None:
    said = speaker.say("hey jarvis what time is it")
    wake = speaker.until(lambda: speaker.journal(said, PIPIT_EVENT="wake"))
    speaking = speaker.until_state("speaking", said)
    speaker.until_state("listening", speaking.at)
    opened = next(wired for wired in speaker.wire(said) if wired.type == "opened")
    assert opened.at >= wake.at - 0.05
    assert speaker.loud(speaking.at), "the reply could not be heard"
    speaker.until_state("idle", speaking.at)
    speaker.until(lambda: [shown for shown in speaker.lights(speaking.at) if shown.lights == "dark"])
    shown = [shown.lights for shown in speaker.lights(said)]
    assert shown == ["listening", "thinking", "speaking", "listening", "dark"]


def test_button_while_pipit_speaks_silences_it_and_tells_the_service(speaker: Pi) -> None:
    speaking = story_begins(speaker)
    pressed = speaker.press()
    speaker.until_state("listening", pressed)
    silent_from = pressed + speaker.within(0.1) + _OVERLAP_S
    speaker.wait(1.5)
    heard = speaker.loud(speaking.at)
    assert [level for level in heard if level.at > silent_from] == []
    assert next(shown.lights for shown in speaker.lights(pressed) if shown.lights != "speaking") == "listening"
    sent = {wired.type: wired for wired in speaker.wire(pressed)}
    assert "response.cancel" in sent
    truncated = sent["conversation.item.truncate"].message["audio_end_ms"]
    assert truncated == pytest.approx((pressed - speaking.at) * 1000, abs=1000 * (speaker.within(0.1) + _OVERLAP_S))


def test_stop_in_the_middle_of_a_reply_takes_less_than_two_seconds(speaker: Pi) -> None:
    story_begins(speaker)
    times = speaker.run("cut -d' ' -f1 /proc/uptime; systemctl stop pipit; cut -d' ' -f1 /proc/uptime").output.split()
    began, ended = map(float, times)
    assert ended - began < speaker.within(2.0)
    assert speaker.run("systemctl show pipit --property=Result --value").output == "success\n"
    assert speaker.comes_true(lambda: any(wired.type == "closed" for wired in speaker.wire(began)), 1), "no goodbye"
    assert [level for level in speaker.loud(ended) if level.at > ended + _OVERLAP_S] == []


def test_reload_applies_a_changed_volume_and_keeps_the_conversation(speaker: Pi) -> None:
    speaking = story_begins(speaker)
    daemon = speaker.main_pid()
    speaker.configure(audio={"output": {"volume": 20}})
    began = speaker.now()
    speaker.run("systemctl reload pipit")
    reloaded = speaker.now()
    speaker.until(lambda: [level for level in speaker.loud(reloaded + 0.5)][100:])
    loud_before = max(level.dbfs for level in speaker.loud(speaking.at) if level.at < began)
    loud_after = max(level.dbfs for level in speaker.loud(reloaded + 0.5))
    assert loud_after < loud_before - 6
    assert speaker.main_pid() == daemon
    assert speaker.journal(speaking.at, PIPIT_EVENT="state")[-1]["PIPIT_STATE"] == "speaking"
    assert [wired for wired in speaker.wire(speaking.at) if wired.type == "closed"] == []


def test_reload_of_a_mistaken_file_fails_and_changes_nothing(speaker: Pi) -> None:
    daemon = speaker.main_pid()
    speaker.configure(audio={"output": {"volume": 2000}})
    refused = speaker.run("systemctl reload pipit", check=False)
    assert refused.status != 0
    said = speaker.say("hey jarvis what time is it")
    speaker.until_state("speaking", said)
    assert speaker.main_pid() == daemon
    assert "volume" in speaker.run("journalctl -u pipit -n 50 -o cat --no-pager").output
