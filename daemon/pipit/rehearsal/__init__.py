"""A loop-back voice agent server: for the demonstration, for the tests, and for anybody without an account.

It speaks the wire protocols of the real services, hears with pocketsphinx, answers with a few skills and speaks with espeak-ng, all
offline. What it knows of the protocols is written down here a second time and not shared with the clients in `pipit.services`: a
mistake in one of them must not be hidden by the same mistake in the other.
"""

from __future__ import annotations

from pipit.rehearsal.agent import Conduct
from pipit.rehearsal.misbehaviour import Misbehaviour
from pipit.rehearsal.server import Rehearsal, serve
from pipit.rehearsal.wire import Session

__all__ = ["Conduct", "Misbehaviour", "Rehearsal", "Session", "serve"]
