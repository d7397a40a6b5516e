import numpy as np
import pytest

from keras_pointpeft.checkpoints import CheckpointMismatch
from keras_pointpeft.checkpoints import export
from keras_pointpeft.checkpoints import fill
from keras_pointpeft.checkpoints.layouts import layout_of
from keras_pointpeft.peft import DAPT
from tests.conftest import small_classifier


def names_of(model):
    return layout_of(model).names


def entries(model):
    """The published layout of our small model."""
    rows, names = [], names_of(model)
    for variable in model.weights:
        if "seed_generator" in variable.path:
            continue
        shape = tuple(variable.shape)
        if variable.path.endswith("/kernel"):
            shape = shape[::-1]
            if "/conv" in variable.path:
                shape = (*shape, 1)
        rows.append((names(variable.path), shape, "float32"))
    return rows


@pytest.fixture
def model():
    return small_classifier(DAPT(rank=4))


def random_state(model):
    rng = np.random.default_rng(0)
    return {
        name: rng.normal(size=shape).astype(dtype)
        for name, shape, dtype in entries(model)
    }


def test_round_trip(model):
    state = random_state(model)
    report = fill(model, state, names_of(model))
    assert set(report.used) == set(state)
    assert not report.unused and not report.kept
    again = export(model, entries(model), names_of(model))
    assert set(again) == set(state)
    for name, value in state.items():
        np.testing.assert_array_equal(again[name], value)


@pytest.mark.once
@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda s: s.pop("norm.weight"), "missing: norm.weight"),
        (lambda s: s.update(extra=np.zeros(3)), "unexpected: extra"),
        (
            lambda s: s.update({"norm.bias": np.zeros(5, "float32")}),
            "shape of norm.bias",
        ),
        (
            lambda s: s.update({"norm.bias": np.full(24, np.nan)}),
            "NaN or infinity in norm.bias",
        ),
        (
            # A kernel of the right size but transposed.
            lambda s: s.update(
                {
                    "blocks.blocks.0.mlp.fc1.weight": s[
                        "blocks.blocks.0.mlp.fc2.weight"
                    ]
                }
            ),
            "shape of blocks.blocks.0.mlp.fc1.weight",
        ),
    ],
)
def test_nothing_is_loaded_unless_everything_fits(model, spoil, message):
    state = random_state(model)
    spoil(state)
    before = [v.numpy().copy() for v in model.weights]
    with pytest.raises(CheckpointMismatch, match=message):
        fill(model, state, names_of(model))
    for variable, value in zip(model.weights, before):
        np.testing.assert_array_equal(variable.numpy(), value)


@pytest.mark.once
def test_reasons_are_reported(model):
    state = random_state(model)
    state["decoder.weight"] = np.zeros(3)
    state["encoder.first_conv.1.num_batches_tracked"] = np.zeros(())
    del state["cls_token"]
    report = fill(
        model,
        state,
        names_of(model),
        ignored={r"^decoder\.": "of pre-training"},
        initial={r"^class_tokens/token": "trained from scratch"},
    )
    assert report.unused["decoder.weight"] == "of pre-training"
    assert report.kept == {"class_tokens/token": "trained from scratch"}
    assert "of pre-training: decoder.weight" in str(report)
