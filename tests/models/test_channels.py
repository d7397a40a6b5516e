"""Colours, normals or intensity as a further input of the patch encoder."""

import dataclasses

import h5py
import keras
import numpy as np
import pytest

from keras_pointpeft import models
from keras_pointpeft.experiments.comparison import Entrant
from keras_pointpeft.experiments.comparison import methods_for
from keras_pointpeft.peft import DAPT
from keras_pointpeft.peft import IDPT
from keras_pointpeft.peft import LinearProbe
from keras_pointpeft.peft import method

from ..conftest import small_backbone
from ..conftest import small_classifier


def transplanted(source, target):
    """The weights of one model in another that has more."""
    known = {variable.path: variable for variable in source.variables}
    for variable in target.variables:
        if variable.path in known:
            # Not the array itself, which jax may give away.
            variable.assign(keras.ops.convert_to_numpy(known[variable.path]))


@pytest.fixture
def colored(clouds):
    colors = np.random.default_rng(1).uniform(0, 1, (6, 64, 3))
    return np.concatenate([clouds[0], colors], -1).astype("float32"), clouds[1]


@pytest.mark.once
def test_without_training_nothing_changes(clouds, colored):
    plain = small_backbone(DAPT(rank=4))
    wide = small_backbone(DAPT(rank=4), extra_channels=3)
    transplanted(plain, wide)
    names = {v.path for v in wide.variables} - {v.path for v in plain.variables}
    assert [name.split("/")[-2] for name in names] == ["tuner_channels"]
    np.testing.assert_allclose(
        wide.predict(colored[0], verbose=0)["patch_tokens"],
        plain.predict(clouds[0], verbose=0)["patch_tokens"],
        atol=1e-5,
    )


@pytest.mark.once
@pytest.mark.parametrize("peft", [None, DAPT(rank=4), LinearProbe()])
def test_what_colors_say_is_learnt(colored, peft):
    model = small_classifier(peft, extra_channels=3)
    points, labels = colored
    kernel = model.backbone.get_layer("tuner_channels").kernel
    assert not np.any(keras.ops.convert_to_numpy(kernel))
    model.fit(points, labels, verbose=0)
    assert np.any(keras.ops.convert_to_numpy(kernel))
    other = points.copy()
    other[..., 3:] = 0
    first, second = (model.predict(x, verbose=0) for x in (points, other))
    assert np.abs(first - second).max() > 1e-7
    with pytest.raises(ValueError, match=r"\(clouds, points, 6\)"):
        model.predict(points[..., :3], verbose=0)


@pytest.mark.once
def test_every_method_learns_what_channels_are_worth():
    path = "point_mae_backbone/tuner_channels/kernel"
    made = [
        Entrant.from_text(name, "pointmaetiny", "shapes").method()
        for name in methods_for("pointmaetiny", "shapes")
    ]
    assert len(made) > 15
    for peft in (*made, IDPT(reference=True)):
        assert peft.trains(path), peft
        if not peft.replaces_base:
            assert peft.component(path) == "channels"
            assert not peft.trains("point_mae_backbone/block_0/fc1/kernel")


@pytest.mark.once
def test_configs_and_adapters(colored, tmp_path):
    config = small_backbone().get_config()
    assert config.pop("extra_channels") == 0  # not known to earlier versions
    models.PointMAEBackbone.from_config(config)
    model = small_classifier(DAPT(rank=4), extra_channels=3)
    model.fit(*colored, verbose=0)
    model.save_adapter(tmp_path / "adapter")
    other = small_classifier(DAPT(rank=4), extra_channels=3)
    transplanted(model.backbone, other.backbone)
    kernel = other.backbone.get_layer("tuner_channels").kernel
    kernel.assign(np.zeros(kernel.shape))
    other.load_adapter(tmp_path / "adapter")
    expected = model.predict(colored[0], verbose=0)
    np.testing.assert_allclose(
        other.predict(colored[0], verbose=0), expected, atol=1e-5
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        loaded.predict(colored[0], verbose=0), expected, atol=1e-5
    )


@pytest.mark.once
def test_scenes_with_colors(colored):
    model = models.SemanticSegmenter(
        small_backbone(extra_channels=3),
        num_classes=3,
        propagation_dims=(8, 8),
        head_dims=(8,),
    )
    assert model.predict(colored[0], verbose=0).shape == (6, 64, 3)


SMALL = {"num_heads": 3, "encoder_dims": (8, 12, 16)}
PLAIN = {"num_groups": 8, "group_size": 8, "dim": 24, "depth": 2, **SMALL}
STAGES = {
    "num_groups": (16, 8, 4),
    "group_sizes": (8, 4, 4),
    "dims": (12, 18, 24),
    "depths": (1, 1, 1),
    **SMALL,
}


@pytest.mark.parametrize(
    "kind, config",
    [
        (models.PointGPTBackbone, PLAIN),
        pytest.param(models.ReConBackbone, PLAIN, marks=pytest.mark.once),
        pytest.param(models.PointM2AEBackbone, STAGES, marks=pytest.mark.once),
    ],
)
def test_other_backbones_take_them_too(clouds, colored, kind, config):
    plain, wide = kind(**config), kind(**config, extra_channels=3)
    transplanted(plain, wide)
    assert kind.from_config(wide.get_config()).extra_channels == 3
    expected = plain.predict(clouds[0], verbose=0)["patch_tokens"]
    found = wide.predict(colored[0], verbose=0)["patch_tokens"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    kernel = wide.get_layer("tuner_channels").kernel
    kernel.assign(np.ones(kernel.shape))
    changed = wide.predict(colored[0], verbose=0)["patch_tokens"]
    assert np.abs(changed - expected).max() > 1e-3


@pytest.mark.once
def test_colours_of_files_train_and_are_predicted(tmp_path):
    """Two kinds of the same shape, which colour alone tells apart."""
    from keras_pointpeft import data

    rng = np.random.default_rng(0)
    for number in range(12):
        kind = ("dark", "light")[number % 2]
        (tmp_path / kind).mkdir(exist_ok=True)
        cloud = np.c_[rng.normal(size=(80, 3)), np.full((80, 3), number % 2)]
        cloud[:, 3:] *= 255
        np.savetxt(
            tmp_path / kind / f"{number}.txt",
            cloud,
            header="x y z r g b",
            comments="",
        )
    split = data.load_folder(
        tmp_path, None, num_points=64, channels=("colors",)
    )
    # One linear layer on a frozen backbone: no averages that must keep up.
    model = models.PointCloudClassifier(
        small_backbone(LinearProbe(), extra_channels=3), 2, head_dims=()
    )
    model.compile(optimizer=keras.optimizers.Adam(0.1))
    batches = data.PointCloudDataset(split, batch_size=6, shuffle=True)
    model.fit(batches, epochs=20, verbose=0)
    clouds = np.concatenate([split.points, split.channels], axis=-1)
    found = model.predict(model.contract.prepare(list(clouds)), verbose=0)
    np.testing.assert_array_equal(found.argmax(axis=1), split.labels)
    # By nothing but colour: in the other one, each is of the other kind.
    clouds[..., 3:] = 1 - clouds[..., 3:]
    found = model.predict(model.contract.prepare(list(clouds)), verbose=0)
    np.testing.assert_array_equal(found.argmax(axis=1), 1 - split.labels)


@pytest.mark.once
def test_scenes_train_and_are_predicted_with_colours(tmp_path):
    """What a point is, colour alone tells."""
    import keras_pointpeft
    from keras_pointpeft import data
    from keras_pointpeft.training import Recipe
    from keras_pointpeft.training import train
    from keras_pointpeft.training.checkpoint import data_digest

    rng = np.random.default_rng(0)
    for area in (1, 2):
        table = np.c_[rng.uniform(0, 2, (1500, 3)), np.zeros((1500, 4))]
        table[:, 6] = rng.integers(0, 2, 1500)
        table[:, 3:6] = 200 * table[:, 6:]
        np.save(tmp_path / f"Area_{area}_a.npy", table)
    loaded = [
        data.load_s3dis(tmp_path, split, test_area=2, channels=("colors",))
        for split in ("train", "test")
    ]
    model = models.SemanticSegmenter(
        small_backbone(extra_channels=3, use_class_token=False, depth=3),
        2,
        propagation_dims=(16, 12),
        head_dims=(16,),
    )
    recipe = Recipe(
        updates=3,
        batch_size=4,
        num_points=64,
        column_min_points=64,
        selection="last",
    )
    train(model, *loaded, recipe, about={"part_names": ("dark", "light")})
    contract = model.contract
    assert contract.channels == ("colors",) and contract.color_range == 255
    # A run with other colours is another run.
    bare = [dataclasses.replace(room, channels=None) for room in loaded[0]]
    assert data_digest(bare) != data_digest(loaded[0])
    room = loaded[1][0]
    expected = model.predict_room(room)
    for name in ("scene.txt", "bare.txt"):
        wide = name == "scene.txt"
        np.savetxt(
            tmp_path / name,
            np.c_[room.points, room.colors] if wide else room.points,
            header="x y z r g b" if wide else "x y z",
            comments="",
            fmt="%.17g",
        )
    (row,) = keras_pointpeft.predict_files(model, tmp_path / "scene.txt")
    assert np.mean(row.labels == expected) > 0.99
    with pytest.raises(ValueError, match="bare.txt.*have no colors"):
        keras_pointpeft.predict_files(model, tmp_path / "bare.txt")
    with pytest.raises(ValueError, match=r"3 channels \['colors'\].*: 0"):
        model.predict_room(room.points)
    model.contract = contract.told(channels=("intensity",))
    with pytest.raises(ValueError, match="contract must say which"):
        keras_pointpeft.predict_files(model, tmp_path / "scene.txt")


@pytest.mark.once
def test_classes_and_parts_of_files_with_colours(tmp_path):
    import keras_pointpeft
    from keras_pointpeft import data

    colors = np.random.default_rng(0).integers(0, 256, (80, 3))
    cloud = np.random.default_rng(1).normal(size=(80, 3))
    np.savetxt(
        tmp_path / "a.txt",
        np.c_[cloud, colors],
        header="x y z r g b",
        comments="",
        fmt="%.17g",
    )
    contract = data.Contract(
        class_names=("a", "b"),
        part_names=("dark", "light"),
        num_points=80,
        normalization="unit_sphere",
        sampling="first",
        channels=("colors",),
        color_range=255.0,
    )
    seen = []

    def predict(points, *more):
        seen.append(np.asarray(points))
        light = seen[-1][..., 3] > 0.5
        return light.astype(int) if more else np.eye(2)[light.sum(1) % 2]

    options = {"extra_channels": 3, "use_class_token": False, "depth": 3}
    parts = models.PartSegmenter(
        small_backbone(**options), 2, 2, ((0, 1), (0, 1)), head_dims=(16,)
    )
    classes = small_classifier(num_classes=2, extra_channels=3)
    parts.predict_parts, classes.predict_on_batch = predict, predict
    parts.contract = classes.contract = contract
    (row,) = keras_pointpeft.predict_files(
        parts, tmp_path / "a.txt", category="a"
    )
    np.testing.assert_array_equal(row.labels, colors[:, 0] > 127.5)
    keras_pointpeft.predict_files(classes, tmp_path / "a.txt", votes=2)
    for batch in seen:
        assert batch.shape[1:] == (80, 6)
        rows = np.sort(batch[0, :, 3:].round(6), axis=0)
        expected = np.sort((colors / 255).round(6), axis=0)
        np.testing.assert_allclose(rows, expected, atol=1e-5)


@pytest.mark.once
def test_an_adapter_from_before_the_kernel_trained_loads(
    colored, tmp_path, monkeypatch
):
    """Linear probing left the kernel at 0, as a part of the frozen base."""
    with monkeypatch.context() as earlier:
        earlier.setattr(method, "CHANNELS", "(?!)")
        before = small_classifier(LinearProbe(), extra_channels=3)
        before.save_adapter(tmp_path)
    with h5py.File(tmp_path / "adapter.weights.h5") as file:
        names = []
        file.visit(names.append)
    assert not any("tuner_channels" in name for name in names)
    model = small_classifier(LinearProbe(), extra_channels=3)
    transplanted(before, model)
    head = model.trainable_variables[-1]
    head.assign(keras.ops.ones(head.shape))
    model.load_adapter(tmp_path)
    np.testing.assert_array_equal(
        model.predict(colored[0], verbose=0),
        before.predict(colored[0], verbose=0),
    )
    # A base whose kernel has learnt is another base.
    kernel = model.backbone.get_layer("tuner_channels").kernel
    kernel.assign(keras.ops.ones(kernel.shape))
    with pytest.raises(ValueError, match="another frozen backbone"):
        model.load_adapter(tmp_path)
