"""Parts that do nothing are named in words."""

import numpy as np
import pytest

from keras_pointpeft.reports.dead_parts import bank_in_words
from keras_pointpeft.reports.dead_parts import dead_parts
from tests.conftest import METHODS
from tests.conftest import small_classifier

pytestmark = pytest.mark.once


def alive(model):
    """Every trained variable somewhere else than at 0."""
    for variable in model.trainable_variables:
        variable.assign(np.full(variable.shape, 0.1, "float32"))
    return model


@pytest.mark.parametrize("method", ["dapt", "linear", "pointpeft"])
def test_a_part_at_zero_is_named_by_its_place(method):
    model = alive(small_classifier(METHODS[method]()))
    assert dead_parts(model) == []
    kernels = [v for v in model.trainable_variables if len(v.shape) == 2]
    kernels[-1].assign(np.zeros(kernels[-1].shape, "float32"))
    (sentence,) = dead_parts(model)
    assert "is 0 everywhere" in sentence and "kernel" in sentence
    # A bias at 0 takes nothing away.
    kernels[-1].assign(np.ones(kernels[-1].shape, "float32"))
    for variable in model.trainable_variables:
        if variable.path.endswith("bias"):
            variable.assign(np.zeros(variable.shape, "float32"))
    assert dead_parts(model) == []


def test_a_fresh_adapter_adds_nothing_yet():
    model = small_classifier(METHODS["dapt"]())
    assert any(s.startswith("Block 1: ") for s in dead_parts(model))


def test_parts_that_let_nothing_through():
    shares = {"block_0": {"scale": 0.0}, "block_1": {"scale": 0.25}}
    model = alive(small_classifier(METHODS["linear"]()))
    (sentence,) = dead_parts(model, shares)
    assert sentence.startswith("Block 1: scale is 0 for every token")
    assert dead_parts(model, {"block_1": shares["block_1"]}) == []


def test_how_much_of_a_bank_is_read():
    spread = np.array([[0, 1], [2, 3], [0, 4]])
    assert (
        bank_in_words(spread, 9) == "3 clouds read 5 of the bank's 9 entries."
    )
    stuck = bank_in_words(np.array([[0, 1], [1, 0]]), 9)
    assert "all of them the same" in stuck
