import keras
import keras_hub
import numpy as np
import pytest

from keras_pointpeft.models import PointCloudClassifier
from keras_pointpeft.models import PointMAEBackbone
from keras_pointpeft.peft import DAPT
from tests.conftest import METHODS
from tests.conftest import small_backbone
from tests.conftest import small_classifier

pytestmark = pytest.mark.long


def predict(model, points):
    return model.predict(points, batch_size=3, verbose=0)


class Batches(keras.utils.PyDataset):
    def __init__(self, points, labels):
        super().__init__()
        self.data = points, labels

    def __len__(self):
        return 2

    def __getitem__(self, index):
        part = slice(3 * index, 3 * index + 3)
        return self.data[0][part], self.data[1][part]


@pytest.fixture(scope="module")
def task():
    """One for all kinds of data: its programs are compiled once."""
    keras.utils.set_random_seed(0)
    return small_classifier(DAPT(rank=4))


def test_every_data_source(task, clouds):
    """In batches of one size, for which a program is compiled."""
    points, labels = clouds
    batches = Batches(points, labels)

    def generator():
        while True:
            yield batches[0]

    task.fit(points, labels, epochs=1, batch_size=3, verbose=0)
    task.fit(batches, validation_data=batches, verbose=0)
    task.fit(generator(), steps_per_epoch=2, verbose=0)
    a = task.evaluate(batches, verbose=0)
    b = task.evaluate(points, labels, batch_size=3, verbose=0)
    assert np.isfinite(a).all()
    np.testing.assert_allclose(a, b, rtol=1e-5)
    assert predict(task, points).shape == (6, 3)
    np.testing.assert_allclose(
        predict(task, batches), predict(task, points), atol=1e-6
    )


def moves(task, data):
    """Whether `fit` trains on what a data set of this kind yields."""
    before = task.head.trainable_variables[0].numpy().copy()
    history = task.fit(data, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    after = task.head.trainable_variables[0].numpy()
    return not np.array_equal(before, after)


def test_torch_data_loader(task, clouds):
    torch = pytest.importorskip("torch")
    tensors = [torch.from_numpy(part) for part in clouds]
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(*tensors), batch_size=3
    )
    assert moves(task, loader)


def test_tf_data(task, clouds):
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.Dataset.from_tensor_slices(clouds).batch(3)
    assert moves(task, dataset)


@pytest.mark.once
@pytest.mark.parametrize("method", METHODS)
def test_preset_round_trip(method, clouds, tmp_path):
    points, labels = clouds
    model = small_classifier(METHODS[method]())
    model.fit(points, labels, epochs=1, verbose=0)
    model.save_to_preset(str(tmp_path))
    again = PointCloudClassifier.from_preset(str(tmp_path))
    assert type(again.backbone.peft) is type(model.backbone.peft)
    assert len(again.trainable_variables) == len(model.trainable_variables)
    np.testing.assert_array_equal(
        predict(again, points), predict(model, points)
    )
    backbone = keras_hub.models.Backbone.from_preset(str(tmp_path))
    assert isinstance(backbone, PointMAEBackbone)


@pytest.mark.once
def test_optimizer_is_no_part_of_task_weights(clouds, tmp_path):
    model = small_classifier(DAPT(rank=4))
    model.save_task_weights(str(tmp_path / "a.task.weights.h5"))
    model.fit(*clouds, epochs=1, verbose=0)
    model.save_task_weights(str(tmp_path / "b.task.weights.h5"))
    a, b = (tmp_path / f"{n}.task.weights.h5" for n in "ab")
    assert a.stat().st_size == b.stat().st_size


@pytest.mark.once
def test_keras_file_round_trip(clouds, tmp_path):
    points, labels = clouds
    model = small_classifier(DAPT(rank=4))
    model.fit(points, labels, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert len(again.trainable_variables) == len(model.trainable_variables)
    np.testing.assert_array_equal(
        predict(again, points), predict(model, points)
    )


@pytest.mark.once
def test_plain_weights_are_a_subset_of_tuned_ones(clouds, tmp_path):
    points, _ = clouds
    plain = small_backbone()
    tuned = small_backbone(DAPT(rank=4))
    paths = {v.path for v in tuned.weights}
    base = {v.path: v for v in plain.weights}
    assert set(base) <= paths
    for variable in tuned.weights:
        if variable.path in base:
            variable.assign(base[variable.path].numpy())
        else:
            assert "tuner" in variable.path
    # `peft=None` strips a tuned preset back to its base.
    tuned.save_to_preset(str(tmp_path))
    stripped = PointMAEBackbone.from_preset(str(tmp_path), peft=None)
    assert stripped.peft is None
    for name, value in plain(points).items():
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(stripped(points)[name]),
            keras.ops.convert_to_numpy(value),
        )


@pytest.mark.once
@pytest.mark.parametrize("method", METHODS)
def test_samples_do_not_depend_on_their_batch(method):
    points = np.random.default_rng(0).normal(size=(32, 64, 3))
    points = points.astype("float32")
    model = small_classifier(METHODS[method]())
    alone = predict(model, points[:1])
    for size in (2, 7, 32):
        together = model.predict(points[:size], batch_size=size, verbose=0)
        np.testing.assert_allclose(together[:1], alone, atol=1e-6)


@pytest.mark.once
def test_mixed_precision_step(clouds):
    model = small_classifier(DAPT(rank=4), dtype="mixed_bfloat16")
    history = model.fit(*clouds, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    outputs = model.backbone(clouds[0])
    assert "float32" in str(outputs["centers"].dtype)
    assert "bfloat16" in str(outputs["patch_tokens"].dtype)


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow",
    reason="on torch compiling takes minutes, jax always compiles",
)
def test_jit_compiled_step(clouds):
    model = small_classifier(DAPT(rank=4), depth=1)
    model.compile(jit_compile=True)
    history = model.fit(*clouds, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.once
def test_features_of_chosen_blocks(clouds):
    backbone = small_backbone(DAPT(rank=4))
    early, late = backbone.features((0, 1))(clouds[0])
    assert tuple(early.shape) == (6, 10, 24)
    assert tuple(late.shape) == (6, 11, 24)


@pytest.mark.once
def test_parts_of_the_output(clouds):
    parts = small_backbone(DAPT(rank=4))(clouds[0])
    assert {k: tuple(v.shape) for k, v in parts.items()} == {
        "class_tokens": (6, 1, 24),
        "prompt_tokens": (6, 2, 24),
        "patch_tokens": (6, 8, 24),
        "centers": (6, 8, 3),
    }


@pytest.mark.once
def test_bad_input_is_named(clouds):
    points = clouds[0].copy()
    points[4, 3, 1] = np.nan
    model = small_classifier(DAPT(rank=4))
    for call in (model.predict, lambda x: model.fit(x, clouds[1])):
        with pytest.raises(ValueError, match="4"):
            call(points)
    with pytest.raises(ValueError, match="num_classes=0"):
        PointCloudClassifier(small_backbone(), 0)
    with pytest.raises(ValueError, match="`peft` must be"):
        small_backbone("dapt")
    with pytest.raises(ValueError, match="rank=0"):
        DAPT(rank=0)
    with pytest.raises(ValueError, match="frozen_bn='off'"):
        DAPT(frozen_bn="off")
    with pytest.raises(ValueError, match="prompt_tokens"):
        PointCloudClassifier(
            small_backbone(), 3, pooling={"prompt_token": "mean"}
        )


@pytest.mark.once
def test_batches_of_one_are_refused_where_clouds_are_compared():
    points = np.random.default_rng(0).normal(size=(5, 64, 3)).astype("float32")
    labels = np.array([0, 1, 2, 0, 1])
    model = PointCloudClassifier(
        small_backbone(), 3, head_dims=(8,), head_norm=True
    )
    with pytest.raises(ValueError, match="nothing is learnt"):
        model.fit(points, labels, batch_size=1, verbose=0)
    with pytest.raises(ValueError, match="nothing is learnt"):
        model.train_on_batch(points[:1], labels[:1])
    with pytest.warns(UserWarning, match="last batch of each epoch has one"):
        model.fit(points, labels, batch_size=2, verbose=0)
    # What it was fitted on, it knows.
    assert model.contract.num_points == 64
    assert model.contract.normalization == "none"
