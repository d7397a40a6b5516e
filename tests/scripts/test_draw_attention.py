"""The README's picture: which blocks it shows, and that it is drawn."""

import numpy as np
import pytest

from keras_pointpeft.reports import inspection
from tests.conftest import load_file

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def draw_attention():
    return load_file("scripts/draw_attention.py")


def seen(scales):
    rng = np.random.default_rng(0)
    blocks = [
        inspection.BlockView(f"block_{i}", rng.random((2, 8)), scale)
        for i, scale in enumerate(scales)
    ]
    centers = rng.random((2, 8, 3))
    return inspection.Inspection(centers, blocks, "the class token", {})


def test_the_scale_that_differs_most_is_shown(draw_attention):
    dead, alive = np.zeros((2, 8)), np.arange(16.0).reshape(2, 8)
    found = draw_attention.columns(seen([dead, alive, alive / 2, dead]))
    titles = [title for title, _ in found]
    assert titles == [
        "block 1, attention",
        "block 3, attention",
        "block 4, attention",
        "block 2, scale",
    ]
    assert found[-1][1] is alive
    assert len(draw_attention.columns(seen([None, None]))) == 2


def test_a_cloud_is_a_row(draw_attention, tmp_path):
    pytest.importorskip("matplotlib")
    clouds = np.random.default_rng(0).random((2, 32, 3))
    values = [np.random.default_rng(k).random((2, 32)) for k in range(3)]
    figure = draw_attention.draw(clouds, ["mug", "lamp"], list("abc"), values)
    assert len(figure.axes) == 6
    assert [axes.get_title() for axes in figure.axes[:3]] == list("abc")
    colors = figure.axes[4].collections[0].get_array()
    np.testing.assert_array_equal(colors, values[1][1])
