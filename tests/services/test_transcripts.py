from __future__ import annotations

from pathlib import Path

import pytest

from tests.services import replay


@pytest.mark.parametrize("path", replay.FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_the_codec_sends_and_understands_what_the_transcript_says(path: Path) -> None:
    replay.replay(replay.codec_for(path), path)


def test_there_are_transcripts_of_both_protocols() -> None:
    assert {path.parent.name for path in replay.FILES} == {"openai", "assemblyai"}
