"""Ways to save and load."""

import copy
import pickle
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from keras import ops

import keras_pointpeft
from keras_pointpeft.step.optimizer import make_optimizer
from tests.keras_ways.promise import clouds
from tests.keras_ways.promise import fit
from tests.keras_ways.promise import logits
from tests.keras_ways.promise import make_task
from tests.keras_ways.promise import refuses
from tests.keras_ways.promise import rows
from tests.keras_ways.promise import values


def whole(model, folder):
    model.save(folder / "model.keras")
    return keras.saving.load_model(folder / "model.keras")


def unzipped(model, folder):
    model.save(folder / "model", zipped=False)
    return keras.saving.load_model(folder / "model")


def weights(model, folder):
    model.save_weights(folder / "model.weights.h5")
    twin = make_task(seed=1)
    twin.load_weights(folder / "model.weights.h5")
    return twin


def shards(model, folder):
    model.save_weights(folder / "model.weights.json", max_shard_size=8e-6)
    twin = make_task(seed=1)
    twin.load_weights(folder / "model.weights.json")
    return twin


def by_function(model, folder):
    keras.saving.save_weights(model, folder / "model.weights.h5")
    twin = make_task(seed=1)
    keras.saving.load_weights(twin, folder / "model.weights.h5")
    return twin


def pickled(model, folder):
    return pickle.loads(pickle.dumps(model))


def copied(model, folder):
    return copy.deepcopy(model)


def preset(model, folder):
    model.save_to_preset(folder / "preset")
    return keras_pointpeft.from_preset(str(folder / "preset"))


def preset_by_hub(model, folder):
    model.save_to_preset(folder / "preset")
    return type(model).from_preset(str(folder / "preset"))


def listed(model, folder):
    twin = make_task()
    twin.set_weights(model.get_weights())
    return twin


def tree(model, folder):
    """What `keras.callbacks.OrbaxCheckpoint` saves and loads by."""
    state = model.get_state_tree(value_format="numpy_array")
    twin = make_task()
    twin.set_state_tree(
        {name: part for name, part in state.items() if "opt" not in name}
    )
    return twin


def one_by_one(model, folder):
    twin = make_task()
    for mine, other in zip(twin.weights, model.weights, strict=True):
        mine.assign(other)
    return twin


def inside_another(model, folder):
    outer = keras.Sequential([keras.Input((None, 3)), model])
    outer.save_weights(folder / "outer.weights.h5")
    twin = make_task(seed=1)
    again = keras.Sequential([keras.Input((None, 3)), twin])
    again.load_weights(folder / "outer.weights.h5")
    return twin


def inside_another_whole(model, folder):
    points = keras.Input((None, 3))
    keras.Model(points, model(points)).save(folder / "outer.keras")
    return keras.saving.load_model(folder / "outer.keras").layers[-1]


WAYS = (
    *(whole, unzipped, weights, shards, by_function, pickled, copied, preset),
    *(preset_by_hub, listed, tree, one_by_one, inside_another),
    inside_another_whole,
)


@pytest.mark.parametrize("way", rows(WAYS, "whole"))
def test_what_was_trained_comes_back(case, way):
    fit(case.model)
    found = way(case.model, case.folder)
    np.testing.assert_array_equal(logits(found), logits(case.model))
    trained = {v.path for v in case.model.trainable_variables}
    assert {v.path for v in found.trainable_variables} == trained
    case.check(found)
    case.check(case.model)


STRANGE = (listed, tree, one_by_one)


@pytest.mark.parametrize("way", rows(STRANGE, ""))
def test_weights_of_another_base(case, way, monkeypatch):
    """Nobody knows what their class token was: the base is refused."""
    fit(case.model)
    make = make_task
    monkeypatch.setitem(globals(), "make_task", lambda: make(seed=1))
    found = way(case.model, case.folder)
    with refuses("peft=None.*remember_base"):
        with found.disable_adapters():
            pass
    # Training does not make it known, and neither does a file.
    fit(found)
    with refuses("peft=None"):
        with found.disable_adapters():
            pass
    again = whole(found, case.folder)
    with refuses("peft=None"):
        with again.disable_adapters():
            pass


@pytest.mark.once
@pytest.mark.parametrize("way", (listed, tree), ids=lambda way: way.__name__)
def test_untrained_weights_are_the_base(case, way, monkeypatch):
    """Pre-trained weights may come in by anything that Keras offers."""
    make = make_task
    monkeypatch.setitem(globals(), "make_task", lambda: make(seed=1))
    start = logits(case.model)
    found = way(case.model, case.folder)
    keras_pointpeft.adapters.remember_base(found)
    np.testing.assert_array_equal(logits(found), start)
    fit(keras.Sequential([keras.Input((None, 3)), found]))
    case.check(found)


@pytest.mark.once
@pytest.mark.parametrize("ours", (True, False))
def test_plain_weights_come_in(case, ours):
    """The base's own weights file, by Keras' own function."""
    plain = make_task(peft=None).backbone
    base = values(plain.weights)
    plain.save_weights(case.folder / "plain.weights.h5")
    tuned = make_task(seed=1)
    keras.saving.load_weights(
        tuned.backbone, case.folder / "plain.weights.h5", skip_mismatch=True
    )
    if not ours:
        # Nobody was asked between loading and training.
        fit(keras.Sequential([keras.Input((None, 3)), tuned]))
        with refuses("peft=None.*remember_base"):
            with tuned.disable_adapters():
                pass
        return
    fit(tuned)
    with tuned.disable_adapters() as found:
        for path, value in values(found.weights).items():
            np.testing.assert_array_equal(value, base[path])


def same_training(found, model):
    """Two tasks that train on alike: rate, slots, decay, loss, metrics."""
    for part in ("learning_rate", "iterations", "weight_decay"):
        mine, other = (getattr(x.optimizer, part) for x in (found, model))
        assert float(mine) == float(other), part
    assert type(found.optimizer) is type(model.optimizer)
    pairs = zip(
        found.optimizer.variables, model.optimizer.variables, strict=True
    )
    for mine, other in pairs:
        np.testing.assert_array_equal(
            ops.convert_to_numpy(mine), ops.convert_to_numpy(other)
        )
    losses = []
    for x in (found, model):
        keras.utils.set_random_seed(1)
        fitted = x.fit(
            *clouds(), batch_size=2, epochs=2, shuffle=False, verbose=0
        )
        losses.append(fitted.history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-4)
    np.testing.assert_allclose(logits(found), logits(model), atol=1e-4)
    logs = found.evaluate(*clouds(), verbose=0, return_dict=True)
    expected = model.evaluate(*clouds(), verbose=0, return_dict=True)
    assert logs == pytest.approx(expected, abs=1e-4)


# More than rounding: of that alone, in front of a BatchNorm, Adam would make
# whole steps.
EPSILON = 1e-3


COMPILED = (whole, pickled, copied)


@pytest.mark.parametrize("way", rows(COMPILED, "whole"))
def test_training_goes_on(case, way, recwarn):
    model = case.model
    optimizer = make_optimizer(model, 0.01, 0.9, epsilon=EPSILON)
    model.compile(optimizer, "auto", "auto")
    model.fit(*clouds(), batch_size=2, verbose=0)
    model.optimizer.learning_rate = 0.02
    found = way(model, case.folder)
    assert not [x for x in recwarn if "compile" in str(x.message)]
    same_training(found, model)


@pytest.mark.once
def test_training_of_another_model_goes_on(case):
    """Keras' own optimizer of a model around the task."""
    inner = case.model
    outer = keras.Sequential([keras.Input((None, 3)), inner])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    outer.compile(make_optimizer(inner, 0.01, 0.9, epsilon=EPSILON), loss)
    outer.fit(*clouds(), batch_size=2, verbose=0)
    outer.save(case.folder / "outer.keras")
    found = keras.saving.load_model(case.folder / "outer.keras")
    for x in (found, outer):
        x.fit(*clouds(), batch_size=2, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_allclose(logits(found), logits(outer), atol=1e-5)


@pytest.mark.once
def test_own_exceptions_from_decay(case):
    model = case.model
    optimizer = keras.optimizers.AdamW(0.01, 0.9, epsilon=EPSILON)
    optimizer.exclude_from_weight_decay(var_names=["bias", "token"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, ["accuracy"])
    model.fit(*clouds(), batch_size=2, verbose=0)
    same_training(copy.deepcopy(model), model)


@pytest.mark.once
def test_what_was_never_compiled(case):
    config = case.model.get_config()
    model = type(case.model).from_config(config)
    model.set_weights(case.model.get_weights())
    assert copy.deepcopy(model).count_params() == model.count_params()


@pytest.mark.once
@pytest.mark.parametrize("way", (pickled, copied), ids=lambda w: w.__name__)
def test_named_adapters(case, way):
    model = case.model
    model.add_adapter("other")
    fit(model)
    model.set_adapter("other")
    found = way(model, case.folder)
    assert found.adapter_names == model.adapter_names
    assert found.active_adapter == "other"
    for name in model.adapter_names:
        model.set_adapter(name)
        found.set_adapter(name)
        np.testing.assert_array_equal(logits(found), logits(model))
    # They are apart: training one leaves the other.
    before = logits(model)
    fit(found)
    np.testing.assert_array_equal(logits(model), before)
    case.check(found)


@pytest.mark.once
def test_json(case):
    again = keras.models.model_from_json(case.model.to_json())
    trained = {v.path for v in case.model.trainable_variables}
    assert {v.path for v in again.trainable_variables} == trained
    case.check(case.model, moved=False)


@pytest.mark.once
def test_an_optimizer_by_itself(case):
    optimizer = make_optimizer(case.model, weight_decay=0.9)
    config = keras.saving.serialize_keras_object(optimizer)
    again = keras.saving.deserialize_keras_object(config)
    case.model.compile(again)
    case.model.fit(*clouds(), batch_size=2, verbose=0)
    case.check(case.model)


SCRIPT = """
import sys
import keras_pointpeft
assert "keras" not in sys.modules and "keras_hub" not in sys.modules
import keras
model = keras.saving.load_model(sys.argv[1])
print(type(model).__name__, model.count_params())
"""


@pytest.mark.once
@pytest.mark.parametrize("first", ("keras", "keras_pointpeft"))
def test_a_file_loads_after_one_import(case, first):
    case.model.save(case.folder / "model.keras")
    script = SCRIPT
    if first == "keras":
        lines = SCRIPT.strip().splitlines()
        script = "\n".join(["import keras", *lines[:2], *lines[4:]])
    run = subprocess.run(
        [sys.executable, "-c", script, case.folder / "model.keras"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    expected = f"PointCloudClassifier {case.model.count_params()}"
    assert run.stdout.strip() == expected


CALLBACKS = {
    "early_stopping": lambda folder: keras.callbacks.EarlyStopping(
        "loss", patience=0, restore_best_weights=True
    ),
    "plateau": lambda folder: keras.callbacks.ReduceLROnPlateau(
        "loss", patience=1
    ),
    "rate": lambda folder: keras.callbacks.LearningRateScheduler(
        lambda epoch, rate: rate / 2
    ),
    "weights": lambda folder: keras.callbacks.ModelCheckpoint(
        folder / "best.weights.h5", save_weights_only=True
    ),
    "whole": lambda folder: keras.callbacks.ModelCheckpoint(
        folder / "best.keras"
    ),
    "every_batch": lambda folder: keras.callbacks.ModelCheckpoint(
        folder / "b.weights.h5", save_weights_only=True, save_freq=1
    ),
    "backup": lambda folder: keras.callbacks.BackupAndRestore(
        folder / "backup"
    ),
    "nan": lambda folder: keras.callbacks.TerminateOnNaN(),
    "log": lambda folder: keras.callbacks.CSVLogger(folder / "log.csv"),
}


@pytest.mark.once
@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks(case, name):
    fit(case.model, epochs=2, callbacks=[CALLBACKS[name](case.folder)])
    case.check(case.model)


@pytest.mark.eager
def test_all_callbacks_at_once(case):
    """On jax, `fit` keeps the variables elsewhere between two batches."""
    model, folder = case.model, case.folder
    seen = []

    def look(batch, logs):
        with model.disable_adapters() as plain:
            case.check_base(plain)
        seen.append(batch)

    makes = [CALLBACKS[name](folder) for name in CALLBACKS]
    looks = keras.callbacks.LambdaCallback(on_train_batch_end=look)
    fit(model, epochs=2, callbacks=[*makes, looks])
    assert seen == [0, 1, 0, 1]
    case.check(model)
    case.check(keras.saving.load_model(folder / "best.keras"))
    twin = make_task(seed=1)
    twin.load_weights(folder / "best.weights.h5")
    case.check(twin)


@pytest.mark.once
def test_training_that_was_interrupted(case):
    """`BackupAndRestore` brings another model where the first one was."""

    class Interrupted(Exception):
        pass

    def interrupt(epoch, logs):
        if epoch == 1:
            raise Interrupted

    backup = CALLBACKS["backup"]
    breaks = keras.callbacks.LambdaCallback(on_epoch_begin=interrupt)
    with pytest.raises(Interrupted):
        fit(case.model, epochs=3, callbacks=[backup(case.folder), breaks])
    twin = make_task(seed=1)
    fitted = fit(twin, epochs=3, callbacks=[backup(case.folder)])
    assert fitted.epoch == [1, 2]
    case.check(twin)


@pytest.mark.once
def test_loading_while_training(case):
    model, folder = case.model, case.folder
    model.save_weights(folder / "start.weights.h5")
    model.save_adapter(folder / "start")
    loads = (
        lambda: model.load_weights(folder / "start.weights.h5"),
        lambda: model.load_adapter(folder / "start"),
    )
    for load in loads:
        callback = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs, load=load: load()
        )
        fit(model, epochs=2, callbacks=[callback])
        case.check(model, moved=False)


@pytest.mark.once
def test_unfreezing_while_training(case):
    """What a callback turns on does not train: Keras' optimizer knows."""
    model = case.model

    def unfreeze(epoch, logs):
        model.backbone.get_layer("block_0").qkv.kernel.trainable = True

    callback = keras.callbacks.LambdaCallback(on_epoch_begin=unfreeze)
    with refuses("Unknown variable.*block_0/qkv/kernel"):
        fit(model, callbacks=[callback])
    model.trainable = False
    model.trainable = True
    case.check(model, moved=False)


@pytest.mark.once
def test_an_adapter_saved_in_every_batch(case):
    model, folder = case.model, case.folder
    sizes = []

    def save(batch, logs):
        # Not through the callback's own `model`.
        sizes.append(model.save_adapter(folder / f"batch_{batch}"))

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=save)
    fit(model, callbacks=[callback])
    assert len(sizes) == 2
    for batch in range(2):
        twin = make_task()
        twin.load_adapter(folder / f"batch_{batch}")
        case.check(twin)
    np.testing.assert_array_equal(logits(twin), logits(model))
    case.check(model)


def test_the_base_is_once_in_a_file(case):
    """As a variable or as an asset, wherever Keras has but one of them."""
    model, folder = case.model, case.folder
    fit(model)
    model.save_weights(folder / "model.weights.h5")
    model.save(folder / "model.keras")
    with zipfile.ZipFile(folder / "model.keras") as file:
        assert not [x for x in file.namelist() if x.endswith("base.npz")]
    for act in (
        lambda: model.save(folder / "model.keras"),
        lambda: model.save_weights(folder / "model.weights.h5"),
    ):
        act()
        # What Orbax has of a model.
        place = folder / "assets"
        place.mkdir(exist_ok=True)
        model.backbone.save_assets(place)
        (place / "base.npz").unlink()
    case.check(keras.models.load_model(folder / "model.keras"))


def test_the_old_format_past_our_own_save(case):
    """`keras.saving.save_model` asks no method of a model.

    What it writes is whole: with the classes' names it loads, and the base,
    of which it knows nothing, is refused.
    """
    model, file = case.model, case.folder / "model.h5"
    fit(model)
    keras.saving.save_model(model, file)
    with pytest.raises(ValueError, match="Unknown layer: 'PointCloud"):
        keras.models.load_model(file)
    classes = {"PointCloudClassifier": type(model)}
    found = keras.models.load_model(file, custom_objects=classes)
    np.testing.assert_array_equal(logits(found), logits(model))
    with refuses("nobody says what the base's own were"):
        found.disable_adapters().__enter__()
    case.check_adapter(found)
