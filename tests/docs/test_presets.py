"""Runs the cards of the presets that need no download."""

import keras
import pytest

from keras_pointpeft import presets
from keras_pointpeft.data import make_shapes
from tests.docs import pages

pytestmark = pytest.mark.once

if keras.config.backend() != "torch":
    pytestmark = pytest.mark.slow


def code(text):
    """The one Python block of a card."""
    _, _, rest = text.partition("```python\n")
    return pages.Block("card", 0, "python", rest.partition("```")[0])


def test_cards_of_the_shipped_backbone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = make_shapes(num_clouds=20, num_points=128, domain="scan", seed=0)
    names = {"points": made.points[:4], "labels": made.labels[:4]}
    (page,) = pages.python_blocks("docs/presets/pointmaetiny.md")
    pages.run(page, names)
    assert names["features"].shape[0] == 4
    pages.run(code(presets.card("dapt_pointmaetiny_shapes")), names)
    assert (tmp_path / "my_task" / "adapter.json").is_file()


def test_all_others_are_of_the_same_form():
    for name in presets.list_presets():
        block = code(presets.card(name))
        compile(block.text, name, "exec")
        assert f'"{name}"' in block.text
