"""What methods cost, in turns, and beside their accuracy."""

import numpy as np
import pytest

from keras_pointpeft.data import Split
from keras_pointpeft.experiments import cost
from keras_pointpeft.experiments import method_costs
from keras_pointpeft.experiments.comparison import Entrant
from keras_pointpeft.presets import results

pytestmark = pytest.mark.once


@pytest.fixture
def split():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(4, 512, 3)).astype("float32")
    return Split(points, np.arange(4) % 2, ("a", "b"))


def test_methods_take_turns(split, monkeypatch):
    order = []

    def interleaved(steps, repeats, warmup, clock):
        order.append(list(steps))
        for step in steps.values():
            step()
        return {
            name: [3.0, 1.0 + number, 9.0]
            for number, name in enumerate(steps)
        }

    monkeypatch.setattr(cost, "interleaved_seconds", interleaved)
    entrants = [
        Entrant.from_text(text, "pointmaetiny", "shapes")
        for text in ("linear", "lora:rank=2")
    ]
    linear, lora = method_costs.measured(entrants, split, 4, repeats=3)
    names = ["linear_pointmaetiny_shapes", "lora_pointmaetiny_shapes rank=2"]
    assert order == [names, names]
    assert linear["step_seconds"] == linear["inference_seconds"] == 3
    assert linear["num_points"] == 512 and lora["changes"] == "rank=2"
    more = lora["trained_parameters"] - linear["trained_parameters"]
    # Two matrices of rank 2 beside each linear layer of five blocks; the
    # class token and its position.
    widths = (128, 384), (128, 128), (128, 512), (512, 128)
    assert more == 5 * 2 * sum(sum(pair) for pair in widths) + 2 * 128
    assert lora["kept_bytes"] > linear["kept_bytes"]
    assert lora["adapter_bytes"] > 4 * more
    assert linear["clock"] == "wall"
    with pytest.raises(ValueError, match="clock"):
        method_costs.measured(entrants, split, 4, clock="sun")
    with pytest.raises(ValueError, match="needs 5 clouds"):
        method_costs.measured(entrants, split, 5)


def test_costs_stand_beside_accuracies(tmp_path):
    path = tmp_path / "methods.csv"
    for name, seconds in (("a", 0.5), ("b", 0.25), ("c", 1)):
        row = {
            "preset": f"{name}_x_y",
            "changes": "",
            "batch_size": 4,
            "step_seconds": seconds,
            "inference_seconds": 0.1,
            "adapter_bytes": 10,
            "clock": "wall",
            "trained_parameters": 2,
        }
        results.append_row(path, row, results.METHODS)
    compared = [
        {
            "preset": f"{name}_x_y",
            "changes": "",
            "method": name,
            "mean": mean,
            "std": None,
            "seeds": 3,
        }
        for name, mean in (("a", 60.0), ("b", 70.0))
    ]
    entries = method_costs.with_accuracy(
        results.read(path, results.METHODS), compared
    )
    assert [entry["name"] for entry in entries] == ["b", "a"]
    assert entries[0]["step_seconds"] == 0.25 and entries[0]["seeds"] == 3
    assert np.isnan(entries[0]["kept_bytes"])
