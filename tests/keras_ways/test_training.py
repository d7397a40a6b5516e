"""Ways to train: each row of the table is one."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_pointpeft.data import PointCloudDataset
from keras_pointpeft.models import SemanticSegmenter
from keras_pointpeft.step.optimizer import make_optimizer
from tests.keras_ways.promise import BACKEND
from tests.keras_ways.promise import clouds
from tests.keras_ways.promise import fit
from tests.keras_ways.promise import make_backbone
from tests.keras_ways.promise import make_task
from tests.keras_ways.promise import refuses
from tests.keras_ways.promise import rows
from tests.keras_ways.promise import values

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def compiled(model, **kwargs):
    model.compile(keras.optimizers.Adam(0.01), LOSS, **kwargs)
    return model


def batches():
    points, labels = clouds()
    for i in (0, 2):
        yield points[i : i + 2], labels[i : i + 2]


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return list(batches())[index]


def arrays(model):
    fit(model)


def auto(model):
    """Keras-hub's way: `compile` has been called by the constructor."""
    points, labels = clouds()
    model.optimizer.learning_rate = 0.01
    model.fit(points, labels, batch_size=2, verbose=0)


def py_dataset(model):
    compiled(model).fit(Batches(), verbose=0)


def own_dataset(model):
    data = PointCloudDataset(*clouds(), batch_size=2, shuffle=True)
    compiled(model).fit(data, verbose=0)


def generator(model):
    compiled(model).fit(batches(), verbose=0)


def steps_per_epoch(model):
    points, labels = clouds()
    compiled(model).fit(
        points, labels, batch_size=2, steps_per_epoch=1, epochs=2, verbose=0
    )


def torch_loader(model):
    data = pytest.importorskip("torch.utils.data")
    torch = pytest.importorskip("torch")
    tensors = [torch.from_numpy(array) for array in clouds()]
    loader = data.DataLoader(data.TensorDataset(*tensors), batch_size=2)
    compiled(model).fit(loader, verbose=0)


def tf_data(model):
    tf = pytest.importorskip("tensorflow")
    data = tf.data.Dataset.from_tensor_slices(clouds()).batch(2)
    compiled(model).fit(data, verbose=0)


def tensors(model):
    points, labels = map(ops.convert_to_tensor, clouds())
    compiled(model).fit(points, labels, batch_size=2, verbose=0)


def on_batches(model):
    compiled(model)
    for points, labels in batches():
        model.train_on_batch(points, labels)


def validated(model):
    fit(model, validation_data=clouds(2))


def validation_split(model):
    fit(model, validation_split=0.5)


def class_weight(model):
    fit(model, class_weight={0: 1.0, 1: 2.0, 2: 0.5})


def sample_weight(model):
    fit(model, sample_weight=np.array([1.0, 2.0, 0.5, 1.0], "float32"))


def eagerly(model):
    compiled(model, run_eagerly=True).fit(*clouds(2), verbose=0)


def steps_per_execution(model):
    count = 1 if BACKEND == "torch" else 2
    compiled(model, steps_per_execution=count).fit(
        *clouds(), batch_size=2, verbose=0
    )


def accumulated(model):
    fit(
        model,
        optimizer=keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
    )


def scaled_loss(model):
    fit(
        model,
        optimizer=keras.optimizers.LossScaleOptimizer(
            keras.optimizers.Adam(0.01), initial_scale=2.0
        ),
    )


def averaged(model):
    optimizer = keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.5)
    callbacks = [keras.callbacks.SwapEMAWeights()]
    fit(model, optimizer=optimizer, callbacks=callbacks)
    optimizer.finalize_variable_values(model.trainable_variables)


def running_average_kept(model):
    optimizer = keras.optimizers.Adam(
        0.01, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=1
    )
    fit(model, optimizer=optimizer, epochs=2)


def scheduled(model):
    rate = keras.optimizers.schedules.CosineDecay(0.01, 100)
    fit(model, optimizer=keras.optimizers.AdamW(rate))
    model.optimizer.iterations.assign(50)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.005)


def own_accumulation(model):
    optimizer = make_optimizer(
        model, learning_rate=0.01, gradient_accumulation=2
    )
    fit(model, optimizer=optimizer)


def weights_on_batches(model):
    compiled(model, metrics=["accuracy"])
    points, labels = clouds()
    weights = np.array([1.0, 2.0, 0.5, 1.0], "float32")
    model.train_on_batch(points, labels, sample_weight=weights)
    model.train_on_batch(points, labels, class_weight={0: 1.0, 1: 2.0, 2: 1.0})
    model.test_on_batch(points, labels, sample_weight=weights)
    model.reset_metrics()


def stopped(model):
    def stop(epoch, logs):
        model.stop_training = True

    callback = keras.callbacks.LambdaCallback(on_epoch_end=stop)
    assert fit(model, epochs=5, callbacks=[callback]).epoch == [0]


def in_two_calls(model):
    fit(model, epochs=2)
    fitted = model.fit(
        *clouds(), batch_size=2, epochs=4, initial_epoch=2, verbose=0
    )
    assert fitted.epoch == [2, 3]


def compiled_again(model):
    fit(model)
    fit(model, optimizer=keras.optimizers.SGD(0.01))


def loss_by_output(model):
    compiled(model)
    model.compile(keras.optimizers.Adam(0.01), {model.output_names[0]: LOSS})
    model.fit(*clouds(), batch_size=2, verbose=0)


def one_hot(model):
    points, labels = clouds()
    model.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        weighted_metrics=["accuracy"],
    )
    model.fit(points, np.eye(3)[labels], batch_size=2, verbose=0)


def penalised(model):
    """Keras' regularizers, of what is frozen too."""
    for variable in model.weights:
        variable.regularizer = keras.regularizers.L2(0.1)
    fit(model)


def sequential(model):
    outer = keras.Sequential([keras.Input((None, 3)), model])
    fit(outer)


def functional(model):
    points = keras.Input((None, 3))
    fit(keras.Model(points, model(points)))


class Outer(keras.Model):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, points, training=False):
        return self.inner(points, training=training)


def subclassed(model):
    outer = Outer(model)
    outer(clouds(2)[0])
    fit(outer)


def native(model):
    """The backend's own loop, without any of our methods."""
    points, labels = clouds(2)
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(model.trainable_variables)
    if BACKEND == "torch":
        loss = LOSS(ops.convert_to_tensor(labels), model(points, training=True))
        loss.backward()
        trained = model.trainable_variables
        gradients = [v.value.grad for v in trained]
        import torch

        with torch.no_grad():
            optimizer.apply(gradients, trained)
    elif BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = LOSS(labels, model(points, training=True))
        trained = model.trainable_variables
        optimizer.apply(tape.gradient(loss, trained), trained)
    else:
        import jax

        def loss_of(trained, others):
            scores, others = model.stateless_call(
                trained, others, points, training=True
            )
            return LOSS(labels, scores), others

        trained = [v.value for v in model.trainable_variables]
        others = [v.value for v in model.non_trainable_variables]
        step = jax.jit(jax.value_and_grad(loss_of, has_aux=True))
        (_, others), gradients = step(trained, others)
        slots = [v.value for v in optimizer.variables]
        trained, _ = optimizer.stateless_apply(slots, gradients, trained)
        for variables, found in (
            (model.trainable_variables, trained),
            (model.non_trainable_variables, others),
        ):
            for variable, value in zip(variables, found, strict=True):
                variable.assign(value)


WAYS = (
    *(arrays, auto, py_dataset, own_dataset, generator, steps_per_epoch),
    *(torch_loader, tf_data, tensors, on_batches, validated, class_weight),
    *(validation_split, sample_weight, eagerly, steps_per_execution),
    *(accumulated, scaled_loss, averaged, running_average_kept, scheduled),
    *(own_accumulation, weights_on_batches, stopped, in_two_calls),
    *(compiled_again, loss_by_output, one_hot, penalised),
    *(sequential, functional, subclassed, native),
)


# What a backend does in its own way. Each trains from arrays where a test says
# what trains, and in another model where one puts a task in there.
EVERYWHERE = "native steps_per_execution averaged"


@pytest.mark.parametrize("way", rows(WAYS, EVERYWHERE))
def test_training(case, way):
    way(case.model)
    case.check(case.model)


OPTIMIZERS = "SGD RMSprop Adagrad Adadelta Adamax Nadam Ftrl Lion Lamb Muon"


@pytest.mark.once
@pytest.mark.parametrize("name", [*OPTIMIZERS.split(), "Adafactor"])
def test_optimizers(case, name):
    fit(case.model, optimizer=getattr(keras.optimizers, name)(0.05))
    case.check(case.model)


@pytest.mark.once
def test_an_optimizer_of_another_model(case):
    """Keras knows whose variables it has."""
    fit(case.model)
    with refuses("Unknown variable"):
        fit(make_task(seed=1), optimizer=case.model.optimizer)
    case.check(case.model)


@pytest.mark.once
def test_looking_changes_nothing(case):
    points, labels = clouds()
    model = compiled(case.model)
    model.evaluate(points, labels, verbose=0)
    model.predict(points, verbose=0)
    model.test_on_batch(points, labels)
    model.predict_on_batch(points)
    case.check(model, moved=False)


@pytest.mark.once
@pytest.mark.parametrize("workers", (1, 3))
def test_workers_train_every_batch_once(case, workers):
    points, labels = clouds(8)
    data = PointCloudDataset(
        points,
        labels,
        batch_size=2,
        sampling="first",
        shuffle=True,
        workers=workers,
    )
    expected = [data.indices(i)[0] for i in range(4)]
    data.epoch = 1
    expected += [data.indices(i)[0] for i in range(4)]
    data.epoch = 0
    seen = []

    class Seen(keras.Model):
        def train_step(self, *args):
            seen.append(np.array(ops.convert_to_numpy(args[-1][0])))
            return {"loss": ops.zeros(())}

    inputs = keras.Input((16, 3))
    model = Seen(inputs, case.model(inputs))
    if BACKEND != "torch":
        pytest.skip("the step is traced")
    compiled(model).fit(data, epochs=2, shuffle=False, verbose=0)
    first = [np.abs(points - x[0]).sum((1, 2)).argmin() for x in seen]
    assert first == expected


@pytest.mark.once
def test_weights_of_classes_are_not_for_points():
    backbone = make_backbone(num_groups=8, depth=3)
    model = SemanticSegmenter(backbone, 3, propagation_dims=(8, 8))
    rng = np.random.default_rng(0)
    points = rng.normal(size=(2, 64, 3)).astype("float32")
    labels = rng.integers(0, 3, (2, 64))
    for fitted in (model.fit, model.train_on_batch):
        with refuses("class_weight.*WeightedCrossentropy"):
            fitted(points, labels, class_weight={0: 1.0, 1: 2.0, 2: 3.0})


@pytest.mark.parametrize(
    "kind", (pytest.param("array", marks=pytest.mark.once), "tensor")
)
@pytest.mark.parametrize("value", (np.nan, np.inf, 1e300))
def test_no_number(case, kind, value):
    points, labels = clouds()
    points = points.astype("float64")
    points[1, 2, 0] = value
    if kind == "tensor":
        with np.errstate(over="ignore"):
            points = ops.convert_to_tensor(points.astype("float32"))
    before = values(case.model.weights)
    model = compiled(case.model)
    for act in (
        lambda: model.fit(points, labels, verbose=0),
        lambda: model.predict(points, verbose=0),
        lambda: model.evaluate(points, labels, verbose=0),
        lambda: model.train_on_batch(points, labels),
        lambda: model.predict_on_batch(points),
    ):
        with refuses("finite|NaN|float32 cannot"):
            act()
    for path, found in values(model.weights).items():
        np.testing.assert_array_equal(found, before[path])


@pytest.mark.skipif(BACKEND != "torch", reason="elsewhere it compiles")
def test_compiling_all_at_once(case):
    with refuses("jit_compile.*torch"):
        case.model.compile(jit_compile=True)


def test_compiling_is_asked_for_or_not(case):
    """A file keeps a `False`, and not what a backend chose by itself."""
    model = case.model
    for asked in (False, "auto"):
        compiled(model, jit_compile=asked)
        config = model.get_compile_config()
        assert config["jit_compile"] == asked
        twin = make_task()
        twin.compile_from_config(config)
        assert twin.jit_compile == model.jit_compile
        assert model.clone().jit_compile == model.jit_compile
    # As earlier versions wrote it on jax: no reason not to load on torch.
    twin.compile_from_config({**config, "jit_compile": True})
    assert twin.jit_compile == model.jit_compile
