from __future__ import annotations

from pathlib import Path

import pytest

from pipit.wake.models import FEATURES

for package in ("onnx", "flatbuffers", "ai_edge_litert"):
    pytest.importorskip(package)


def test_the_committed_file_is_what_the_script_builds(stock_models: Path) -> None:
    from tests.wake.build_features import OUTPUT, build

    assert OUTPUT.samefile(FEATURES)
    assert FEATURES.read_bytes() == build(stock_models)
