"""Runs the README's first example, and looks at what it leaves."""

import keras
import numpy as np
import pytest

from keras_pointpeft.data import make_shapes
from tests.docs import pages

pytestmark = pytest.mark.once

# Its parts are tested on every backend elsewhere.
if keras.config.backend() != "torch":
    pytestmark = pytest.mark.slow


def test_first_screen(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (first,) = pages.python_blocks("README.md")
    made = make_shapes(num_clouds=40, num_points=128, domain="scan", seed=0)
    names = {"points": made.points[:6], "labels": made.labels[:6]}
    pages.run(first, names)
    assert {path.name for path in (tmp_path / "my_task").iterdir()} == {
        "adapter.json",
        "adapter.weights.h5",
        "README.md",
    }
    assert "head" in capsys.readouterr().out
    logits = names["model"].predict(names["points"], verbose=0)
    assert logits.shape == (6, 20) and np.all(np.isfinite(logits))
