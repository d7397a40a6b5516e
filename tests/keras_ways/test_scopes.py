"""A task that is made within a scope, or in a layer of somebody's own."""

import json

import keras
import numpy as np
import pytest

from keras_pointpeft import adapters
from keras_pointpeft.adapters import files
from keras_pointpeft.peft import LoRA
from tests.keras_ways.promise import Case
from tests.keras_ways.promise import clouds
from tests.keras_ways.promise import fit
from tests.keras_ways.promise import logits
from tests.keras_ways.promise import make_task
from tests.keras_ways.promise import values

pytestmark = pytest.mark.once
SCOPES = ("x", "tuner", "block_0")


def scoped(name, peft="dapt"):
    with keras.name_scope(name):
        return make_task(peft)


@pytest.mark.parametrize("name", SCOPES)
def test_adapters_go_in_and_out_of_a_scope(name, tmp_path):
    plain, inside = make_task(), scoped(name)
    assert inside.weights[0].path != plain.weights[0].path
    assert adapters.fingerprint(plain) == adapters.fingerprint(inside)
    ours, theirs = (adapters.split_variables(x) for x in (plain, inside))
    assert [x.keys() for x in ours] == [x.keys() for x in theirs]
    assert len(inside.trainable_variables) == len(plain.trainable_variables)
    fit(inside)
    inside.save_adapter(tmp_path / "inside")
    plain.load_adapter(tmp_path / "inside")
    np.testing.assert_array_equal(logits(plain), logits(inside))
    fit(plain)
    plain.save_adapter(tmp_path / "plain")
    inside.load_adapter(tmp_path / "plain")
    np.testing.assert_array_equal(logits(plain), logits(inside))


def test_the_promise_within_a_scope(tmp_path):
    start = make_task()
    case = Case(start, tmp_path)
    inside = scoped("x")
    fit(inside)
    clone = inside.clone()
    np.testing.assert_array_equal(logits(clone), logits(inside))
    for model in (inside, clone):
        with model.disable_adapters() as base:
            case.check_base(base)
    inside.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(logits(again), logits(inside))
    decays = again.optimizer._use_weight_decay
    assert {decays(v) for v in again.trainable_variables} == {True}
    points = clouds()[0]
    lora = scoped("x", LoRA(rank=2))
    np.testing.assert_allclose(
        logits(lora.merge(), points), logits(lora, points), atol=1e-5
    )


def test_what_does_not_decay_is_known_outside_of_the_scope(tmp_path):
    inside = scoped("x")
    inside.compile()
    fitted = inside.fit(*clouds(), verbose=0)
    assert fitted.history["loss"]

    def decayed(model):
        decays = model.optimizer._use_weight_decay
        return [decays(variable) for variable in model.trainable_variables]

    inside.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert decayed(again) == decayed(inside)
    assert set(decayed(inside)) == {True, False}


def test_an_adapter_of_before_that_has_the_scope_in_its_paths(tmp_path):
    inside = scoped("x")
    fit(inside)
    inside.save_adapter(tmp_path)
    adapter, base = adapters.split_variables(inside)
    config = json.loads((tmp_path / "adapter.json").read_text())
    arrays = {v.path: files._stored(v, False) for v in adapter.values()}
    before = {v.path: v for v in base.values()}
    config["base_fingerprint"] = files.base_digest(before)
    config["weights_sha256"] = files._digest(arrays)
    files.write_adapter(tmp_path, arrays, json.dumps(config))
    again = scoped("x")
    again.load_adapter(tmp_path)
    np.testing.assert_array_equal(logits(again), logits(inside))


@keras.saving.register_keras_serializable("tests")
class Late(keras.Model):
    """A model that makes the task when it is built."""

    def build(self, shape):
        self.task = make_task()

    def call(self, points, training=None):
        return self.task(points, training=training)


def test_a_task_that_a_model_makes_late(tmp_path):
    late = Late()
    late(clouds()[0])
    before = values(late.task.backbone._frozen)
    fit(late)
    after = values(late.task.backbone._frozen)
    assert all(np.array_equal(before[k], after[k]) for k in before)
    late.task.save_adapter(tmp_path)
    plain = make_task()
    plain.load_adapter(tmp_path)
    np.testing.assert_array_equal(logits(plain), logits(late.task))
