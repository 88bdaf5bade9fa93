from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest

from tests.system.rig.install import with_pipit
from tests.system.rig.pi import Pi

SUITES = os.environ.get("SUITES", "bookworm trixie").split()
"""Debian 12 with Python 3.11 and Debian 13 with Python 3.13: what Raspberry Pi OS is made of."""


@pytest.fixture(scope="session", params=SUITES)
def pi(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    """A virtual Pi that is up, with the rehearsal server; booted once for all tests of a Debian release."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():  # building what is not in the cache takes minutes, and says what it does
        disk = with_pipit(request.param)
        if os.environ.get("GUEST") == "qemu":
            disk = disk.in_qemu()
    with Pi(disk, tmp_path_factory.mktemp(request.param)) as pi:
        yield pi


@pytest.fixture
def speaker(pi: Pi) -> Pi:
    """The virtual Pi with Pipit freshly started and idle."""
    pi.start()
    return pi


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell what happened in the guest when a test fails."""
    report = yield
    pi = getattr(item, "funcargs", {}).get("pi") or getattr(item, "funcargs", {}).get("speaker")
    if report.when == "call" and report.failed and isinstance(pi, Pi):
        report.sections.append(("the guest's story", pi.story(60)))
    return report
