"""What a conversation remembers so that another session can go on with it: what was said, and the sound of the present turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from pipit.services import Line

LINES, CHARACTERS = 40, 8000
"""How much of what was said is carried over: enough to know what the talk is about."""

KEPT = 10 * LINES
"""How many lines are kept at least, of a conversation that lasts for days: what is carried over, and what the present turn adds."""

SOUND_S = 30.0
"""How much of the person's sound is kept for a session that has to hear it again."""


class History:
    """What was said, in order."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._dropped = 0
        """How many lines came before those that are kept."""
        self._replies: dict[str, list[str]] = {}
        self._last: tuple[str, int] | None = None
        """The reply that was noted last, and its line."""

    def __len__(self) -> int:
        return self._dropped + len(self._lines)

    def _note(self, line: Line) -> None:
        self._lines.append(line)
        if len(self._lines) > 2 * KEPT:
            self._dropped += KEPT
            del self._lines[:KEPT]

    def user(self, text: str) -> None:
        """Note what the person said."""
        if text.strip():
            self._note(Line(False, text.strip()[:CHARACTERS]))

    def words(self, reply: str, text: str) -> None:
        """Note the next words of a reply."""
        self._replies.setdefault(reply, []).append(text)

    def done(self, reply: str, heard: float = 1.0) -> str:
        """A reply is over, or turns out to have been heard only in part. Returns and keeps what was heard of it.

        Args:
            reply: its id.
            heard: which part of its sound, 0 to 1; the same part of its words is taken to have been heard.
        """
        text = "".join(self._replies.pop(reply, ())).strip()
        if not text and self._last is not None and self._last[0] == reply:
            return self._shorten(self._last[1], heard)
        text = _part(text, heard)
        if text:
            self._last = reply, len(self)
            self._note(Line(True, text[:CHARACTERS]))
        return text

    def _shorten(self, index: int, heard: float) -> str:
        if index < self._dropped:
            return ""
        text = _part(self._lines[index - self._dropped].text, heard)
        self._lines[index - self._dropped] = Line(True, text)
        return text

    def said(self, before: int | None = None) -> tuple[Line, ...]:
        """Return the latest of it, oldest first, and no more than is useful.

        Args:
            before: only what was said before there were so many lines.
        """
        kept: list[Line] = []
        room = CHARACTERS
        for line in reversed(self._lines[: None if before is None else max(0, before - self._dropped)]):
            if not line.text:
                continue  # nothing of it was heard
            room -= len(line.text)
            if len(kept) == LINES or room < 0:
                break
            kept.append(line)
        return tuple(reversed(kept))


def _part(text: str, heard: float) -> str:
    """Return the words that fit into a part of a text."""
    return text if heard >= 1 else text[: round(len(text) * heard)].rpartition(" ")[0]


class Sound:
    """The latest sound of the person, addressed by the number of bytes since the conversation began.

    Args:
        limit: how many bytes are kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chunks: deque[tuple[int, bytes]] = deque()
        self.end = 0

    @property
    def begin(self) -> int:
        """Return where the oldest that is kept begins."""
        return self._chunks[0][0] if self._chunks else self.end

    def append(self, pcm: bytes) -> None:
        """Add the next sound."""
        self._chunks.append((self.end, pcm))
        self.end += len(pcm)
        while self.end - self._chunks[0][0] > self._limit:
            self._chunks.popleft()

    def since(self, position: int) -> Iterator[bytes]:
        """Yield what follows a position. Sound may be added meanwhile, and is yielded as well."""
        while position < self.end:
            begin, pcm = next(item for item in self._chunks if item[0] + len(item[1]) > position)
            position = begin + len(pcm)
            yield pcm
