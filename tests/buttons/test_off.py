from __future__ import annotations

from pipit.buttons.off import Settings, build
from pipit.core.events import Edge


def test_no_button_is_never_pressed() -> None:
    edges: list[Edge] = []
    button = build(Settings())
    button.start(edges.append)
    button.close()
    button.close()
    assert edges == []
