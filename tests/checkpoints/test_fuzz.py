"""Mutated checkpoints: all or nothing, and an error that says what."""

import numpy as np
import pytest
from keras import ops

from keras_pointpeft import checkpoints
from keras_pointpeft.checkpoints import CheckpointMismatch
from keras_pointpeft.checkpoints.transfer import weights_of
from tests.checkpoints import published

ROUNDS = 40
KINDS = ("pointmae", "pointbert", "recon", "pointgpt", "dapt_pointmae")


def _drop(state, rng, name):
    del state[name]


def _rename(state, rng, name):
    state[name + "_old"] = state.pop(name)


def _add(state, rng, name):
    state[f"extra.{rng.integers(9)}.weight"] = np.zeros(3)


def _reshape(state, rng, name):
    state[name] = np.concatenate((state[name].reshape(-1), [0.5]))


def _transpose(state, rng, name):
    state[name] = state[name].T


def _cut(state, rng, name):
    state[name] = state[name][..., :-1] if state[name].ndim else state[name]


def _spoil(state, rng, name):
    value = np.array(state[name], "float32")
    value.reshape(-1)[rng.integers(value.size)] = rng.choice([np.nan, np.inf])
    state[name] = value


def _empty(state, rng, name):
    state[name] = np.zeros((0,))


def _swap(state, rng, name):
    other = rng.choice(sorted(state))
    state[name], state[other] = state[other], state[name]


def _number(state, rng, name):
    state[name] = np.float32(1.0)


MUTATIONS = (
    _drop,
    _rename,
    _add,
    _reshape,
    _transpose,
    _cut,
    _spoil,
    _empty,
    _swap,
    _number,
)


def _values(model):
    return {
        path: np.array(ops.convert_to_numpy(variable))
        for path, variable in weights_of(model).items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_checkpoints_load_whole_or_not_at_all(kind):
    model = published.KINDS[kind]()
    before = _values(model)
    published_names = checkpoints.layouts.published_names(model)
    original = published.state_of(kind)
    rng = np.random.default_rng(sum(map(ord, kind)))
    refused = 0
    for _ in range(ROUNDS):
        state = dict(original)
        for _ in range(rng.integers(1, 3)):
            mutate = MUTATIONS[rng.integers(len(MUTATIONS))]
            mutate(state, rng, str(rng.choice(sorted(state))))
        try:
            report = checkpoints.load_into(model, state)
        except CheckpointMismatch as error:
            refused += 1
            assert "Received:" in str(error)
            after = _values(model)
            assert all(np.array_equal(before[p], after[p]) for p in before)
            continue
        # Loaded: then every variable is what the mutated file says.
        after = _values(model)
        assert set(report.used.values()) == set(after)
        assert set(report.used) | set(report.unused) == set(state)
        for path, value in after.items():
            found = np.asarray(state[published_names(path)])
            assert np.isclose(value.sum(), found.sum(), rtol=1e-4)
        before = after
    assert refused > ROUNDS // 2
