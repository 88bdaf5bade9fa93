"""A day of listening, in virtual time: whenever everything in the guest waits, its clocks jump to what comes next.

HOURS=24 make test-system ARGS='-k soak' takes about as many minutes; HOURS is 1 if nothing else is said.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests import speech
from tests.system.rig.install import with_pipit
from tests.system.rig.machine import tree_of
from tests.system.rig.pi import RATE_HZ, Pi

HOURS = int(os.environ.get("HOURS", "1"))
_TALK_S = 118
"""Of a household: some noise all the time, and a sentence now and then. An hour is thirty of them, and the wake word."""
_SENTENCES = ("good morning everybody", "have you seen my other shoe", "dinner is ready", "it is raining again", "see you tomorrow")
_GROWTH_KB = 4000
_USED = "awk '/^VmRSS/ {{print $2}}' /proc/{daemon}/status; ls /proc/{daemon}/fd | wc -l; ls /proc/{daemon}/task | wc -l"


class Used(NamedTuple):
    """What the daemon occupies while it is idle."""

    memory_kb: int
    files: int
    threads: int


@pytest.fixture(scope="module")
def household(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    """A virtual Pi of the newest Debian in virtual time."""
    if os.geteuid() != 0:
        pytest.skip("virtual time needs a mounted disk, and so root: sudo make test-system ARGS='-k soak'")
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        disk = with_pipit("trixie")
    folder = tmp_path_factory.mktemp("soak")
    with tree_of(disk, folder) as root, Pi(disk, folder, root) as pi:
        yield pi


def test_soak_one_wake_word_an_hour_is_heard_and_nothing_grows(household: Pi) -> None:
    pi = household
    # lgpio looks at a button 2000 times a second, which is 70 % of what an hour costs; bigger blocks halve the rest.
    began = pi.start(button={"driver": "off"}, audio={"block_ms": 40})
    clips = [(20.0 * number + 5, speech.say(text, "en-gb", rate_hz=RATE_HZ)) for number, text in enumerate(_SENTENCES)]
    talk = speech.timeline(clips, seconds=_TALK_S, rate_hz=RATE_HZ)
    daemon = pi.main_pid()
    used = []
    for _ in range(HOURS):
        pi.sound(talk, times=30)
        said = pi.say("hey jarvis what time is it")
        pi.until(lambda said=said: pi.journal(said, PIPIT_EVENT="turn"))
        pi.until_state("idle", said)
        used.append(Used(*map(int, pi.run(_USED.format(daemon=daemon)).output.split())))
    assert len(pi.journal(began, PIPIT_EVENT="wake")) == HOURS
    assert len(pi.journal(began, PIPIT_EVENT="turn")) == HOURS
    assert pi.main_pid() == daemon
    assert pi.run("systemctl show pipit --property=NRestarts --value").output == "0\n"
    assert max(now.memory_kb for now in used) - used[0].memory_kb < _GROWTH_KB, used
    assert {(now.files, now.threads) for now in used} == {used[0][1:]}, used
