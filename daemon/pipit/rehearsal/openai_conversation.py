"""OpenAI Realtime: the conversation's items, and what truncation leaves of one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipit.rehearsal.shapes import Refused


class Spoken:
    """An assistant item's sound as it was sent: which words end when."""

    def __init__(self) -> None:
        self._sentences: list[tuple[str, float]] = []
        self._is_cut = False

    def begin(self, sentence: str) -> None:
        """A sentence follows."""
        if not self._is_cut:
            self._sentences.append((sentence, self.length_s))

    def extend(self, seconds: float) -> None:
        """So much more of the latest sentence has been sent; what is sent after a cut does not count."""
        if self._is_cut:
            return
        text, end_s = self._sentences[-1]
        self._sentences[-1] = (text, end_s + seconds)

    @property
    def length_s(self) -> float:
        """How much sound the item has."""
        return self._sentences[-1][1] if self._sentences else 0.0

    def cut(self, end_s: float) -> str:
        """Forget what comes after `end_s`; return the words that are left, those of a sentence cut in two in proportion."""
        kept: list[tuple[str, float]] = []
        begin_s = 0.0
        for sentence, sentence_end_s in self._sentences:
            if begin_s >= end_s:
                break
            words = sentence.split()
            part = min(1.0, (end_s - begin_s) / (sentence_end_s - begin_s)) if sentence_end_s > begin_s else 1.0
            kept.append((" ".join(words[: int(len(words) * part)]), min(sentence_end_s, end_s)))
            begin_s = sentence_end_s
        self._sentences = kept
        self._is_cut = True
        return " ".join(words for words, _ in kept if words)


class Conversation:
    """Items in their order, each as it goes over the wire.

    Raises:
        Refused: by each method, when an item is unknown or not of the kind that is needed.
    """

    def __init__(self) -> None:
        self._items: list[dict[str, Any]] = []
        self._spoken: dict[str, Spoken] = {}

    @property
    def last_id(self) -> str | None:
        """The newest item."""
        return self._items[-1]["id"] if self._items else None

    def add(self, item: dict[str, Any], after: str | None = None) -> str | None:
        """Take an item in, at the end or after another ("root": first); return the item before it, if any."""
        if any(item["id"] == other["id"] for other in self._items):
            raise Refused("value", "item.id", f"Error adding item: an item with id '{item['id']}' already exists.")
        if after is None:
            place = len(self._items)
        elif after == "root":
            place = 0
        else:
            place = self._items.index(self.get(after, "previous_item_id", "item_create_invalid_previous_item_id")) + 1
        self._items.insert(place, item)
        return self._items[place - 1]["id"] if place else None

    def get(self, item_id: str, path: str = "item_id", code: str = "item_retrieve_invalid_item_id") -> dict[str, Any]:
        """Return an item."""
        for item in self._items:
            if item["id"] == item_id:
                return item
        raise Refused("value", path, f"Item with id '{item_id}' was not found in the conversation.", code)

    def before(self, item_id: str) -> str | None:
        """Return the item before an item, if any; None as well if the client has deleted the item."""
        ids = [item["id"] for item in self._items]
        place = ids.index(item_id) if item_id in ids else 0
        return ids[place - 1] if place else None

    def delete(self, item_id: str) -> None:
        """Forget an item."""
        self._items.remove(self.get(item_id, code="item_delete_invalid_item_id"))
        self._spoken.pop(item_id, None)

    def speaks(self, item_id: str) -> Spoken:
        """Return the record of an item's sound, to be filled while it is sent."""
        return self._spoken.setdefault(item_id, Spoken())

    def truncate(self, item_id: str, end_ms: int) -> None:
        """Cut an item's sound and its transcript."""
        item = self.get(item_id, code="item_truncate_invalid_item_id")
        spoken = self._spoken.get(item_id)
        if spoken is None:
            message = "Only model output audio messages can be truncated."
            raise Refused("value", "item_id", message, "item_truncate_invalid_item_id")
        length_ms = round(spoken.length_s * 1000)
        if end_ms > length_ms:
            message = f"Audio content of {length_ms}ms is already shorter than {end_ms}ms."
            raise Refused("value", "audio_end_ms", message, "item_truncate_invalid_audio_end_ms")
        item["content"] = [{"type": "output_audio", "transcript": spoken.cut(end_ms / 1000)}]


def words_of(item: Mapping[str, Any]) -> str:
    """Return the text in a message; what was said in its sound included, as far as it is known."""
    parts = [part.get("text") or part.get("transcript") or "" for part in item.get("content", ())]
    return " ".join(part for part in parts if part)
