"""One answer of the model, spoken while it is being written."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from pipit.core.pcm import Joiner
from pipit.core.pronunciation import Pronunciation
from pipit.core.sentences import Sentences
from pipit.core.speakable import Speakable
from pipit.services import Event, ReplyAudio, ReplyDone, ReplyStarted, ReplyText
from pipit.services.cascade import Call, Sample, StageError
from pipit.services.cascade.attempt import Part
from pipit.services.cascade.guarded import Stages
from pipit.services.cascade.script import Script


class Reply:
    """Says what it says through `emit`; its first event is `ReplyStarted`, once there is something to say.

    Args:
        name: its id.
        script: an empty one.
        emit: takes events.
        called: takes the model's calls of tools, as they come.
    """

    def __init__(self, name: str, script: Script, emit: Callable[[Event], None], called: Callable[[Call], None]) -> None:
        self.name = name
        self.script = script
        self._emit = emit
        self._called = called
        self.begun = False
        """There is something to say, and it was said so."""
        self._over = False
        self._joiner = Joiner()

    async def speak(
        self,
        stages: Stages,
        parts: AsyncGenerator[Part, None],
        like: Sample | None,
        spoken: Pronunciation,
        preface: str,
    ) -> None:
        """Speak it to its end.

        Args:
            stages: what it is spoken with.
            parts: what the model answers.
            like: see `Speak.speak`.
            spoken: how words are pronounced.
            preface: what is said before it.

        Raises:
            StageError: not to its end. What had been written is spoken as far as possible.
        """
        failure: list[StageError] = []

        async def sentences() -> AsyncGenerator[str, None]:
            try:
                async with aclosing(self._sentences(parts, preface)) as pieces:
                    async for written in pieces:
                        if not any(map(str.isalnum, written)):
                            continue  # voices make no sound of it, or say "dot dot dot"
                        said = spoken.feed(written) + spoken.flush()
                        self.script.add(written, said)
                        self.begin()
                        self._emit(ReplyText(self.name, written))
                        yield said
            except StageError as error:
                failure.append(error)

        async with aclosing(parts), aclosing(sentences()) as text, aclosing(stages.voice(text, like)) as sounds:
            async for sound in sounds:
                self.begin()
                self.script.sound(self._joiner.feed(sound.pcm), sound.spoken)
                self._emit(ReplyAudio(self.name, sound.pcm))
        if failure:
            raise failure[0]
        self.script.finish()
        self.end("completed")

    def begin(self) -> None:
        """Say that there is a reply."""
        if not self.begun and not self._over:
            self.begun = True
            self._emit(ReplyStarted(self.name))

    def end(self, status: str, reason: str = "") -> None:
        """Say that no more of it follows."""
        if self.begun and not self._over:
            self._emit(ReplyDone(self.name, status, reason))
        self._over = True

    async def _sentences(self, parts: AsyncGenerator[Part, None], preface: str) -> AsyncGenerator[str, None]:
        """Yield what is to be spoken; what comes before a call is spoken while the tool runs."""
        speakable, sentences = Speakable(), Sentences()
        if preface:
            yield f"{preface} "  # what follows is another sentence
        async for part in parts:
            if isinstance(part, Call):
                for sentence in (*sentences.feed(speakable.flush()), *sentences.flush()):
                    yield sentence
                self._called(part)
            else:
                for sentence in sentences.feed(speakable.feed(part.text)):
                    yield sentence
        for sentence in (*sentences.feed(speakable.flush()), *sentences.flush()):
            yield sentence
