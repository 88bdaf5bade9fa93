"""When espeak-ng says which word: its library tells, while the program keeps it to itself."""

from __future__ import annotations

import ctypes
import ctypes.util
import re
from functools import cache
from typing import Any

RATE_HZ = 22050
_WORD, _RATE_PARAMETER, _SYNCHRONOUS, _CHARACTERS, _UTF8 = 1, 1, 2, 1, 1
"""espeak_EVENT_WORD, espeakRATE, AUDIO_OUTPUT_SYNCHRONOUS, POS_CHARACTER, espeakCHARS_UTF8 of speak_lib.h."""


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


@cache
def _library() -> Any:
    library = ctypes.CDLL(ctypes.util.find_library("espeak-ng"))
    assert library.espeak_Initialize(_SYNCHRONOUS, 0, None, 0) == RATE_HZ
    return library


def word_ends(sentence: str, voice: str, words_per_minute: int = 165) -> list[int]:
    """Return where each word ends: the sample at which the next begins; for the last the end of the sound."""
    library, begun, samples = _library(), list[tuple[int, int]](), 0

    def take(_: Any, count: int, events: Any) -> int:
        nonlocal samples
        samples += count
        place = 0
        while events[place].type:
            if events[place].type == _WORD:
                begun.append((events[place].text_position - 1, events[place].sample))
            place += 1
        return 0

    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
    kept = kind(take)  # the library keeps a bare pointer to it
    library.espeak_SetSynthCallback(kept)
    library.espeak_SetVoiceByName(voice.encode())
    library.espeak_SetParameter(_RATE_PARAMETER, words_per_minute, 0)
    text = sentence.encode()
    library.espeak_Synth(text, len(text) + 1, 0, _CHARACTERS, 0, _UTF8, None, None)
    library.espeak_Synchronize()
    starts: list[int] = []
    for word in re.finditer(r"\S+", sentence):
        inside = [sample for place, sample in begun if word.start() <= place < word.end()]
        starts.append(min(inside) if inside else starts[-1])
    return [*starts[1:], samples]
