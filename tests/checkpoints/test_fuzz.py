"""Mutated checkpoints: all or nothing, and an error that says what."""

import json
import pathlib
import re

import numpy as np
import pytest
from keras import ops

from keras_pointpeft import checkpoints
from keras_pointpeft.checkpoints import CheckpointMismatch
from keras_pointpeft.peft.method import weights_of
from tests.checkpoints import published

pytestmark = pytest.mark.once

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "ckpt_layouts"
ROUNDS = 12
# Pre-trained files, and the small models that stand for theirs.
LAYOUTS = {
    "act_pretrain": "act",
    "pcpmae_pretrain": "pcpmae",
    "pointbert_pretrain": "pointbert",
    "pointgpt_postpretrain_b": "pointgpt_deep",
    "pointgpt_postpretrain_l": "pointgpt_deep",
    "pointgpt_pretrain_b": "pointgpt_deep",
    "pointgpt_pretrain_l": "pointgpt_deep",
    "pointgpt_pretrain_s": "pointgpt",
    "pointmae_pretrain_into_idpt": "pointmae",
    "pointmae_pretrain_into_vptdeep": "pointmae",
    "recon_pretrain_base": "recon",
    "recon_pretrain_small": "recon",
    "recon_pretrain_tiny": "recon",
}


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


def _classifier(kind):
    model = published.KINDS[kind]()
    return model, published.state_of(kind)


def _layout(name):
    """A small file of a published layout, and a model to load it into.

    What the layout has beside the backbone is there under its own names.
    """
    recorded = json.loads((GOLDEN / f"{name}.json").read_text())
    names = [entry[0] for entry in recorded["base_model"]]
    source, _ = checkpoints.identify(dict.fromkeys(names, np.zeros(1)))
    model = published.KINDS[LAYOUTS[name]]()
    model = model.backbone if source.pretrained else model
    theirs = published.shuffled(published.KINDS[LAYOUTS[name]]())
    theirs = theirs.backbone if source.pretrained else theirs
    state = checkpoints.published_state(theirs, source.pretrained)
    for found in names:
        if any(re.search(pattern, found) for pattern in source.ignored):
            state.setdefault(found, np.zeros(2, "float32"))
    return model, state


@pytest.mark.parametrize(
    "make, name",
    [(_classifier, kind) for kind in published.KINDS]
    + [(_layout, name) for name in LAYOUTS],
)
def test_mutated_checkpoints_load_whole_or_not_at_all(make, name):
    model, original = make(name)
    used = checkpoints.load_into(model, original).used
    before = _values(model)
    rng = np.random.default_rng(sum(map(ord, name)))
    refused = 0
    for _ in range(ROUNDS):
        state = dict(original)
        for _ in range(rng.integers(1, 3)):
            mutate = MUTATIONS[rng.integers(len(MUTATIONS))]
            # Mostly what is read; a file has much that is left out.
            names = set(state) & set(used) if rng.random() < 0.7 else state
            mutate(state, rng, str(rng.choice(sorted(names))))
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
        filled = set(report.used.values())
        assert filled | set(report.kept) == set(after)
        assert set(report.used) | set(report.unused) == set(state)
        for found, path in report.used.items():
            total = np.asarray(state[found]).sum()
            assert np.isclose(after[path].sum(), total, rtol=1e-4)
        before = after
    assert refused > ROUNDS // 4


def test_every_layout_is_fuzzed():
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(LAYOUTS)
    assert ROUNDS * (len(published.KINDS) + len(LAYOUTS)) >= 200
