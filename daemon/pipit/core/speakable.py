"""Text as language models write it becomes text that can be spoken: no Markdown, no emoji, no addresses spelt out.

Emphasis, headings and list marks go; of a link its text is left, of an address its host; blocks of code, rules and the numbers of
footnotes are left out; the end of a heading or of a list's entry becomes the end of a sentence. Transcripts keep what was written.
"""

from __future__ import annotations

import re

_LONGEST_LINK = 1000
"""A bracket that is not closed within so many characters is no link, and nothing waits for it."""

_EMOJI = (
    "[\U0001f000-\U0001faff\u2600-\u266c\u2670-\u27bf\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\u231a\u231b\u23e9-\u23fa"
    "\u3030\u303d\u3297\u3299\u2122\u00a9\u00ae]"
)
"""Pictures, flags and dingbats: Unicode's emoji in whole blocks instead of single characters, without ♭ ♮ ♯."""
_PICTURES = re.compile(rf"{_EMOJI}(?:[\ufe0f\u200d\u20e3\U000e0020-\U000e007f]|{_EMOJI})*|[\ufe0f\u20e3\U000e0020-\U000e007f]")
_INNER_PICTURES = re.compile(rf"(?<=\w)(?:{_PICTURES.pattern})+(?=\w)")

_LINK = re.compile(r"!?\[([^\[\]\n]*)\]\([^()\n]*\)")
_REFERENCE = re.compile(r"\[\^?\d{1,3}\]")
_ADDRESS = re.compile(r"<?(?:https?://|\bwww\.)[^\s<>]+>?", re.IGNORECASE)
_HOST = re.compile(r"^<?(?:https?://)?(?:[^/?#@]*@)?(?:www\.)?([^/?#:]*)", re.IGNORECASE)
_MAIL = re.compile(r"\b(?:mailto:)?([\w.+-]+@[\w-]+(?:\.[\w-]+)+)", re.IGNORECASE)
_STOPS = re.compile(r"[.,;:!?)\]}\"'*_~`>]*$")
_TAG = re.compile(r"</?(?:b|br|code|em|i|li|ol|p|pre|s|small|strong|sub|sup|u|ul)/?>", re.IGNORECASE)
_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&nbsp;": " "}
_ENTITY = re.compile("|".join(_ENTITIES))

_MARKS = re.compile(r"[*]{2,}|_{2,}|~~+|`+")
_OPENING = re.compile(r"(?<![\w*_])[*_](?=[^\s*_])")
_CLOSING = re.compile(r"(?<=[^\s*_])[*_](?![\w*_])")

_FENCES = ("```", "~~~")
_RULE = re.compile(r"([-*_=])\1{2,}")
_BULLET = re.compile(r"[-*+•‣◦]|#{1,6}|>+")
_NUMBER = re.compile(r"(\d{1,3})[.)]")
_DASHES = re.compile(r":?-+:?")

_TASK = re.compile(r"\[[ xX]\]")
_STOP = re.compile(r"[.,;:!?…)\]]+")
"""A word that belongs to the one before; a picture stood between them."""
_UNENDED = re.compile(r"[^\W_][\"'”’)%°]*$")
"""The end of a line that no punctuation ends."""


class Speakable:
    """Makes a stream of text speakable, piece by piece; the pieces may be cut anywhere.

    Of a piece that ends in a blank nothing waits for the next one, but for a link that has not been closed. Blanks are returned in
    front of the word that follows them: one, or a line break where a line's end means something.
    """

    def __init__(self) -> None:
        self._waiting = ""
        self._begin()

    def _begin(self) -> None:
        self._gap = ""
        """What stands between the last word and the next."""
        self._last = ""
        """The last word that was returned."""
        self._in_code = False
        self._begin_line()

    def _begin_line(self) -> None:
        self._at_start = True
        self._is_block = False
        """A heading, an entry of a list, a row of a table: its end is the end of a sentence."""
        self._is_row = False

    def feed(self, text: str) -> str:
        """Take the next piece of text; return what can be spoken of all pieces so far."""
        self._waiting += text
        return self._drain(is_all=False)

    def flush(self) -> str:
        """Return the rest: no more text follows. The next piece begins another text."""
        rest = self._drain(is_all=True)
        self._begin()
        return rest

    def _drain(self, *, is_all: bool) -> str:
        said, place, text = list[str](), 0, self._waiting
        while place < len(text):
            end = place + 1 if text[place].isspace() else _word_end(text, place, is_all=is_all)
            if end is None:
                break
            said.append(self._token(text[place:end]))
            place = end
        self._waiting = text[place:]
        return "".join(said)

    def _token(self, token: str) -> str:
        if token == "\n":
            return self._line_end()
        if token.isspace():
            self._gap = self._gap or " "
            return ""
        if self._in_code:
            self._in_code = not (token.endswith(_FENCES) or (self._at_start and token.startswith(_FENCES)))
            self._at_start = False
            return ""
        return self._word(token)

    def _line_end(self) -> str:
        ends_sentence = self._is_block or self._at_start
        self._begin_line()
        if self._in_code or not ends_sentence:
            self._gap = self._gap or " "
            return ""
        self._gap = "\n"
        if not _UNENDED.search(self._last):
            return ""
        self._last = "."
        return "."

    def _word(self, token: str) -> str:
        if self._at_start:
            if token.startswith(_FENCES) and not (token.endswith(_FENCES) and len(token) > 6):
                self._in_code, self._at_start = True, False
                return ""
            if _BULLET.fullmatch(token) or _TASK.fullmatch(token):
                self._is_block = True
                return ""
            if _RULE.fullmatch(token):
                self._at_start = False
                return ""
            self._is_row = token.startswith("|")
            if number := _NUMBER.fullmatch(token):
                token = f"{number[1]}:"  # a full stop would be taken for the end of a sentence
            self._is_block = self._is_block or self._is_row or number is not None
            self._at_start = False
        return self._cells(token) if self._is_row else self._say(_plain(token))

    def _cells(self, token: str) -> str:
        said = ""
        for place, cell in enumerate(token.split("|")):
            if place:
                self._gap = self._gap if "\n" in self._gap else ", "
            if not _DASHES.fullmatch(cell):
                said += self._say(_plain(cell))
        return said

    def _say(self, word: str) -> str:
        if not word:
            return ""
        gap = self._gap if self._last and not _STOP.fullmatch(word) else ""
        self._gap, self._last = "", word
        return gap + word


def speakable(text: str) -> str:
    """Return a whole text as it can be spoken."""
    stream = Speakable()
    return stream.feed(text) + stream.flush()


def _word_end(text: str, place: int, *, is_all: bool) -> int | None:
    """Return where the word at `place` ends, the blanks in a link included; None: its end is not there yet."""
    while place < len(text) and not text[place].isspace():
        end = _link_end(text, place, is_all=is_all) if text[place] == "[" else place + 1
        if end is None:
            return None
        place = end
    return place if place < len(text) or is_all else None


def _link_end(text: str, place: int, *, is_all: bool) -> int | None:
    """Return where the link that opens at `place` ends, or the place after the bracket if it opens none; None: not known yet."""
    line_end = text.find("\n", place, place + _LONGEST_LINK)
    known = is_all or line_end >= 0 or len(text) - place >= _LONGEST_LINK
    line = text[place : line_end if line_end >= 0 else place + _LONGEST_LINK]
    if link := _LINK.match(line):
        return place + link.end()
    if task := _TASK.match(line):
        return place + task.end()
    closed = re.match(r"\[[^\[\]]*\]", line)
    opens = "[" in line[1:] if closed is None else not line[closed.end() :].startswith("(") and closed.end() < len(line)
    refused = closed is not None and re.match(r"\([^()]*\(", line[closed.end() :]) is not None
    return place + 1 if known or opens or refused else None


def _plain(word: str) -> str:
    """Return a word without Markdown and pictures, addresses made words."""
    word = _LINK.sub(r"\1", word)
    word = _REFERENCE.sub("", word)
    word = _ADDRESS.sub(lambda found: _address(found[0]), word)
    word = _MAIL.sub(lambda found: found[1].replace("@", " at ").replace(".", " dot "), word)
    word = _TAG.sub(" ", word)
    word = _ENTITY.sub(lambda found: _ENTITIES[found[0]], word)
    word = _PICTURES.sub("", _INNER_PICTURES.sub(" ", word))
    before = ""
    while word != before:  # what stands around a mark that went may be one as well
        before = word
        for marks in (_MARKS, _OPENING, _CLOSING):
            word = marks.sub("", word)
    return " ".join(word.split())


def _address(address: str) -> str:
    stops = _STOPS.search(address)
    assert stops is not None  # it may be empty
    host = _HOST.match(address[: stops.start()])
    assert host is not None
    return host[1].replace(".", " dot ") + stops[0].replace(">", "")
