"""Ways to say what trains, and in which numbers."""

import keras
import pytest

from keras_pointpeft import adapters
from tests.keras_ways.promise import BACKEND
from tests.keras_ways.promise import Case
from tests.keras_ways.promise import clouds
from tests.keras_ways.promise import fit
from tests.keras_ways.promise import logits
from tests.keras_ways.promise import make_backbone
from tests.keras_ways.promise import make_task
from tests.keras_ways.promise import refuses
from tests.keras_ways.promise import rows
from tests.keras_ways.promise import values


def task_on(model):
    model.trainable = True


def task_off_and_on(model):
    model.trainable = False
    assert not model.trainable_variables
    model.trainable = True


def backbone_on(model):
    model.backbone.trainable = True


def backbone_off_and_on(model):
    model.backbone.trainable = False
    assert all("head" in v.path for v in model.trainable_variables)
    model.backbone.trainable = True


def layers_on(model):
    for layer in model.layers:
        layer.trainable = True


def inside_another(model):
    outer = keras.Sequential([keras.Input((None, 3)), model])
    outer.trainable = False
    outer.trainable = True


def built_trainable(model):
    config = model.backbone.get_config()
    again = type(model.backbone).from_config({**config, "trainable": True})
    assert trained(again) == trained(model.backbone)


KEPT = (
    *(task_on, task_off_and_on, backbone_on, backbone_off_and_on, layers_on),
    *(inside_another, built_trainable),
)


def trained(model):
    return {v.path for v in model.trainable_variables}


@pytest.mark.parametrize("way", rows(KEPT, "task_off_and_on"))
def test_trains_what_the_method_says(case, way):
    expected = trained(case.model)
    way(case.model)
    assert trained(case.model) == expected
    fit(case.model)
    case.check(case.model)


def test_unfrozen_from_outside(case):
    """Keras asks nobody before a variable of a layer is set."""
    model = case.model
    layer = model.backbone.get_layer("block_0").qkv
    layer.kernel.trainable = True
    for act in (
        lambda: fit(model),
        lambda: model.train_on_batch(*clouds(2)),
        lambda: model.save_adapter(case.folder / "none"),
    ):
        with refuses("block_0/qkv/kernel.*DAPT.*Full"):
            act()
    assert not (case.folder / "none").exists()
    # On tensorflow, Keras does nothing where a flag has the value already.
    model.trainable = False
    model.trainable = True
    fit(model)
    case.check(model)


@pytest.mark.once
def test_a_layer_unfrozen(case):
    case.model.backbone.get_layer("block_0").trainable = True
    with refuses("DAPT.*trainable = True"):
        fit(case.model)


@pytest.mark.once
def test_a_part_of_the_method_left_alone(case):
    tuner = case.model.backbone.get_layer("block_0").tuner
    before = values(tuner.weights)
    tuner.trainable = False
    fit(case.model)
    found = values(tuner.weights)
    assert all((found[path] == x).all() for path, x in before.items())
    case.check(case.model)


@pytest.mark.once
def test_the_head_left_alone(case):
    before = values(case.model.head.weights)
    case.model.head.trainable = False
    fit(case.model)
    found = values(case.model.head.trainable_weights)
    assert all((found[path] == before[path]).all() for path in found)
    case.check(case.model)


@pytest.mark.once
def test_everything_left_alone(case):
    case.model.trainable = False
    with refuses("no trainable"):
        case.model.compile()


@pytest.mark.once
@pytest.mark.parametrize("of", ("task", "backbone"))
def test_quantization(case, of):
    model = case.model if of == "task" else case.model.backbone
    for mode in ("int8", "int4", "float8"):
        with refuses("quanti.*bfloat16"):
            model.quantize(mode)
    case.check(case.model, moved=False)


@pytest.mark.once
def test_lora_of_keras(case):
    backbone = case.model.backbone
    for act in (
        lambda: backbone.enable_lora(4),
        lambda: backbone.enable_lora(4, target_layer_names=["qkv"]),
        lambda: backbone.save_lora_weights(case.folder / "w.lora.h5"),
        lambda: backbone.load_lora_weights(case.folder / "w.lora.h5"),
    ):
        with refuses("peft=keras_pointpeft.peft.LoRA"):
            act()
    case.check(case.model, moved=False)


@pytest.mark.once
def test_names_and_flags(case):
    assert case.model.backbone.get_config()["trainable"] is True
    case.model.summary(print_fn=lambda *args, **kwargs: None)
    case.model.peft_summary(print_fn=lambda *args: None)
    case.model.count_params()
    case.check(case.model, moved=False)


# Each backend trains the registry's pairs in mixed precision.
@pytest.mark.once
@pytest.mark.parametrize("dtype", ("mixed_bfloat16", "bfloat16"))
def test_other_numbers(tmp_path, dtype):
    model = make_task(dtype=dtype)
    before = values(model.backbone.weights)
    fit(model)
    found = values(model.backbone.weights)
    trains = model.backbone.peft.trains
    for path, value in before.items():
        if not trains(path):
            assert (found[path] == value).all(), path
    model.save_adapter(tmp_path)
    twin = make_task(dtype=dtype)
    twin.load_adapter(tmp_path)
    assert adapters.fingerprint(twin) == adapters.fingerprint(model)


@pytest.mark.once
def test_a_global_policy(case):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        fit(case.model)
    finally:
        keras.config.set_dtype_policy("float32")
    case.check(case.model)


@pytest.mark.once
def test_a_policy_that_was_there_before(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        case = Case(make_task(), tmp_path)
        fit(case.model)
    finally:
        keras.config.set_dtype_policy("float32")
    found = values(case.model.backbone.weights)
    assert all((found[path] == case.base[path]).all() for path in case.frozen)
    case.model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert again.dtype_policy.name == "mixed_bfloat16"
    assert (logits(again) == logits(case.model)).all()
    case.model.save_adapter(tmp_path / "a")
    again.load_adapter(tmp_path / "a")


@pytest.mark.once
def test_a_policy_of_a_layer_that_is_there(case):
    case.model.backbone.dtype_policy = "mixed_bfloat16"
    case.model.dtype_policy = "mixed_bfloat16"
    fit(case.model)
    case.check(case.model)


@pytest.mark.once
@pytest.mark.skipif(BACKEND == "jax", reason="no float16 on jax's CPU")
def test_scaled_gradients_of_half_numbers(tmp_path):
    case = Case(make_task(dtype="mixed_float16"), tmp_path)
    fit(case.model)
    # Keras puts one around any optimizer.
    scaled = keras.optimizers.LossScaleOptimizer
    assert isinstance(case.model.optimizer, scaled)
    found = values(case.model.backbone.weights)
    assert all((found[path] == case.base[path]).all() for path in case.frozen)
    case.model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert isinstance(again.optimizer, scaled)
    assert not isinstance(again.optimizer.inner_optimizer, scaled)
    assert (logits(again) == logits(case.model)).all()


@pytest.mark.once
def test_two_tasks_on_one_backbone(case):
    model = case.model
    other = type(model)(model.backbone, 5, head_dims=(6,))
    fit(model)
    points, labels = clouds()
    other.compile(keras.optimizers.Adam(0.01), "auto")
    other.fit(points, labels, batch_size=2, verbose=0)
    case.check(model)


@pytest.mark.once
def test_a_plain_backbone_trains_as_keras_says():
    backbone = make_backbone(peft=None)
    backbone.trainable = False
    assert not backbone.trainable_variables
    backbone.trainable = True
    assert len(backbone.trainable_variables) > 10
    backbone.get_layer("block_0").trainable = False
    assert not any("block_0" in path for path in trained(backbone))
