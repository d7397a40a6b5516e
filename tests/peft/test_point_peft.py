import keras
import numpy as np
import pytest
from keras import ops

from keras_pointpeft import adapters
from keras_pointpeft.models import PointCloudClassifier
from keras_pointpeft.models import PointMAEBackbone
from keras_pointpeft.peft import GeometryAwareAdapter
from keras_pointpeft.peft import PointPEFT
from keras_pointpeft.peft import PriorBank
from keras_pointpeft.peft.point_peft.block import LocalAttention
from keras_pointpeft.peft.point_peft.block import TokenNeighborhoods
from keras_pointpeft.presets import from_preset
from keras_pointpeft.verification.gradients import value_and_gradients
from tests.conftest import small_classifier


def method(**kwargs):
    arguments = {
        "num_prompts": 5,
        "prompt_blocks": 1,
        "bank_size": 12,
        "prior_num_groups": 4,
        "prior_group_size": None,
        "adapter_rank": 4,
    }
    return PointPEFT(**{**arguments, **kwargs})


def with_bank(clouds, **kwargs):
    model = small_classifier(method(**kwargs))
    rng = np.random.default_rng(3)
    for variable in model.trainable_variables:
        noise = 0.05 * rng.normal(size=variable.shape)
        variable.assign(ops.convert_to_numpy(variable) + noise)
    if model.backbone.peft.prior:
        PriorBank.build(model, clouds[0], verbose=0).attach(model)
    return model


def logits(model, points):
    return ops.convert_to_numpy(model(points, training=False))


# === The layers ===


def test_neighborhoods(clouds):
    points = clouds[0]
    centers = points[:, :10]
    layer = TokenNeighborhoods(4, 3, 10, width=12)
    found = {
        k: ops.convert_to_numpy(v) for k, v in layer(points, centers).items()
    }
    for i, cloud in enumerate(centers):
        chosen = [0]
        while len(chosen) < 4:
            distance = cloud[:, None] - cloud[chosen]
            nearest = (distance**2).sum(-1).min(1)
            chosen.append(int(np.argmax(nearest)))
        assert found["chosen"][i].tolist() == chosen
        distance = ((cloud[:, None] - cloud[chosen]) ** 2).sum(-1)
        nearest = np.argsort(distance, axis=0)[:3].T
        np.testing.assert_array_equal(found["neighbors"][i], nearest)
        weights = 1 / (distance + 1e-8)
        weights /= weights.sum(1, keepdims=True)
        np.testing.assert_allclose(found["propagation"][i], weights, atol=1e-6)
    shapes = layer.compute_output_spec(points, centers)
    assert {k: v.shape for k, v in shapes.items()} == {
        k: v.shape for k, v in found.items()
    }


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def numpy_attention(layer, x):
    """Inside one neighbourhood `(neighbors, width)`."""
    get = {
        v.path.split("attention/")[-1]: ops.convert_to_numpy(v)
        for v in layer.weights
    }
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    y = (x - mean) / np.sqrt(variance + 1e-5)
    y = y * get["norm/gamma"] + get["norm/beta"]
    q, k, v = np.split(y @ get["qkv/kernel"], 3, axis=-1)
    width = layer.dim // layer.num_heads
    out = []
    for head in range(layer.num_heads):
        part = slice(head * width, (head + 1) * width)
        weights = softmax(q[:, part] @ k[:, part].T * layer.dim**-0.5)
        out.append(weights @ v[:, part])
    return np.concatenate(out, -1) @ get["proj/kernel"] + get["proj/bias"]


def test_geometry_aware_adapter(clouds):
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(6, 10, 12)).astype("float32")
    points = clouds[0]
    around = TokenNeighborhoods(4, 3, 10, width=12, attention_dim=6)
    geometry = around(points, points[:, :10])
    around.attention.proj.bias.assign(rng.normal(size=12))
    adapter = GeometryAwareAdapter()
    adapter.build(tokens.shape)
    ours = ops.convert_to_numpy(
        adapter(
            ops.convert_to_tensor(tokens),
            geometry["neighbors"],
            geometry["chosen"],
            geometry["propagation"],
            attention=around.attention,
        )
    )
    geometry = {k: ops.convert_to_numpy(v) for k, v in geometry.items()}
    for i, x in enumerate(tokens):
        pooled = []
        for group, chosen in zip(
            geometry["neighbors"][i], geometry["chosen"][i]
        ):
            y = x[group] + numpy_attention(around.attention, x[group])
            y = y.max(0) / np.sqrt(1 + 1e-5)
            y = ops.convert_to_numpy(ops.gelu(y, approximate=False))
            pooled.append(y + 0.3 * x[chosen])
        expected = x + 0.3 * geometry["propagation"][i] @ np.array(pooled)
        np.testing.assert_allclose(ours[i], expected, atol=2e-5)


def test_pooling_has_the_gradient_of_a_maximum():
    class Pool(keras.Model):
        def __init__(self, plain):
            super().__init__()
            rng = np.random.default_rng(0)
            self.plain = plain
            self.adapter = GeometryAwareAdapter()
            self.neighbors = rng.integers(0, 9, (5, 4)).astype("int32")
            self.rows = self.add_weight(shape=(9, 6), name="rows")
            self.update = self.add_weight(shape=(5, 4, 6), name="update")
            self.rows.assign(rng.normal(size=(9, 6)))
            self.update.assign(rng.normal(size=(5, 4, 6)))
            self.built = True

        def call(self, x, training=False):
            rows = ops.convert_to_tensor(self.rows)
            update = ops.convert_to_tensor(self.update)
            neighbors = ops.convert_to_tensor(self.neighbors)
            if self.plain:
                return ops.max(ops.take(rows, neighbors, 0) + update, axis=1)
            return self.adapter._pool(rows, neighbors, update)

    found = []
    for plain in (False, True):
        model = Pool(plain)
        loss, gradients = value_and_gradients(
            model, lambda call: ops.sum(ops.sin(call(ops.zeros((1,)))))
        )
        parts = {k.rsplit("/")[-1]: v for k, v in gradients.items()}
        found.append((loss, parts["rows"], parts["update"]))
    for ours, expected in zip(*found):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.once
def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="num_heads"):
        LocalAttention(18, 4)
    with pytest.raises(ValueError, match="at least as many patches"):
        TokenNeighborhoods(4, 8, 6, width=12)


# === The method ===


BESIDE = {
    "prompt_place": "attention",
    "num_heads": 3,
    "gated": True,
    "neighborhood_pooling": "max+mean",
}


@pytest.mark.once
@pytest.mark.parametrize("change", ({}, {"prior": False}, BESIDE))
def test_logits_do_not_depend_on_the_batch(clouds, change):
    model = with_bank(clouds, **change)
    points = np.random.default_rng(5).normal(size=(32, 64, 3))
    points = points.astype("float32")
    whole = logits(model, points)
    assert np.abs(whole[0] - whole[1]).max() > 1e-3
    for size in (1, 2, 7):
        parts = [
            logits(model, points[i : i + size])
            for i in range(0, min(32, 3 * size), size)
        ]
        parts = np.concatenate(parts)
        np.testing.assert_allclose(parts, whole[: len(parts)], atol=1e-6)


@pytest.mark.once
def test_reference_mode_reads_other_samples(clouds):
    """The defect of the published code, which the default does not have."""
    model = with_bank(clouds, reference=True, frozen_bn="track")
    points = clouds[0]
    whole, alone = logits(model, points), logits(model, points[2:3])
    assert np.abs(whole[2] - alone[0]).max() > 1e-5
    assert logits(model, points[:1]).shape == (1, 3)
    np.testing.assert_allclose(logits(model, points[:1]), whole[:1], atol=1e-6)


@pytest.mark.once
def test_every_part_acts(clouds):
    points = clouds[0]
    usual = logits(with_bank(clouds), points)
    for change in (
        {"prior": False},
        {"geometry_adapter": False},
        {"prompt_blocks": 0},
        {"adapter_scale": 0.0},
        {"gated": True},
        {"neighborhood_pooling": "max+mean"},
    ):
        other = small_classifier(method(**change))
        assert other.backbone.get_config()["peft"]["config"][
            next(iter(change))
        ] == next(iter(change.values()))
        if other.backbone.peft.prior:
            PriorBank.build(other, points, verbose=0).attach(other)
        assert np.abs(logits(other, points) - usual).max() > 1e-4


@pytest.mark.once
@pytest.mark.parametrize("reference", (False, True))
def test_adapters_start_as_nothing_or_as_published(reference):
    model = small_classifier(method(reference=reference))
    kernels = [
        ops.convert_to_numpy(v)
        for v in model.trainable_variables
        if v.path.endswith("adapter/up/kernel")
    ]
    assert len(kernels) >= 5
    assert all(np.any(kernel) == reference for kernel in kernels)


@pytest.mark.once
def test_what_trains():
    model = small_classifier(method())
    for variable in model.backbone.trainable_variables:
        assert variable.path.startswith(
            ("tuner_norm/", "tuner_geometry/", "class_tokens/")
        ) or ("/tuner/" in variable.path)
    paths = [v.path for v in model.weights]
    assert len(set(paths)) == len(paths)
    assert sum("attention/qkv" in path for path in paths) == 1
    assert not any(p.endswith("gate") or "coordinates" in p for p in paths)
    report = model.peft_summary(print_fn=None)
    assert set(report["components"]) == {
        "prompts",
        "geometry-aware adapter",
        "adapters",
        "biases and norm",
        "class token",
    }


@pytest.mark.once
def test_full_size_counts():
    backbone = PointMAEBackbone(
        num_groups=128, peft=PointPEFT(reference=True, bank_size=8)
    )
    model = PointCloudClassifier(backbone, 15)
    report = model.peft_summary(print_fn=None)
    assert report["trainable"] == 773_017
    assert report["trainable_without_head"] == 505_482
    assert report["total"] == 22_560_409 + 37_632  # the differences


@pytest.mark.once
def test_arguments_are_checked():
    with pytest.raises(ValueError, match="at least 3"):
        PointPEFT(num_prompts=2)
    with pytest.raises(ValueError, match="neighborhood_ratio"):
        PointPEFT(neighborhood_ratio=0)
    with pytest.raises(ValueError, match="prompt_place"):
        PointPEFT(prompt_place="nowhere")
    with pytest.raises(ValueError, match="as many `num_heads`"):
        model = small_classifier(method(prompt_place="attention", prior=False))
        model(np.ones((1, 64, 3), "float32"))
    with pytest.raises(ValueError, match="room for at least"):
        small_classifier(method(bank_size=2))


# === Saving ===


@pytest.mark.once
def test_the_adapter_brings_the_bank(clouds, tmp_path):
    points, labels = clouds
    model = with_bank(clouds)
    model.fit(points, labels, batch_size=3, verbose=0)
    model.save_adapter(tmp_path / "task")
    other = small_classifier(method())
    base = adapters.split_variables(model)[1]
    for path, variable in adapters.split_variables(other)[1].items():
        variable.assign(base[path])
    other.load_adapter(tmp_path / "task")
    np.testing.assert_array_equal(logits(other, points), logits(model, points))


@pytest.mark.once
def test_an_adapter_without_the_bank(clouds, tmp_path):
    points, _ = clouds
    model = with_bank(clouds)
    small = model.save_adapter(tmp_path / "small", state=False)
    assert small < model.save_adapter(tmp_path / "task")
    config = adapters.read_config(tmp_path / "small")
    assert config["peft"]["config"]["bank_recipe"]["entries"] == 6
    other = small_classifier(method())
    base = adapters.split_variables(model)[1]
    for path, variable in adapters.split_variables(other)[1].items():
        variable.assign(base[path])
    other.load_adapter(tmp_path / "small")
    with pytest.raises(ValueError, match="PriorBank"):
        other.predict(points, verbose=0)
    PriorBank.build(other, points, verbose=0).attach(other)
    np.testing.assert_array_equal(logits(other, points), logits(model, points))


@pytest.mark.once
@pytest.mark.parametrize("kind", ("preset", "keras"))
def test_whole_models_round_trip(clouds, tmp_path, kind):
    points = clouds[0]
    model = with_bank(clouds)
    if kind == "preset":
        model.save_to_preset(tmp_path / "preset")
        other = from_preset(tmp_path / "preset")
        plain = from_preset(tmp_path / "preset", peft=None)
        feature = model.backbone.frozen_pass()(points)
        np.testing.assert_allclose(
            ops.convert_to_numpy(plain.backbone.frozen_pass()(points)),
            ops.convert_to_numpy(feature),
            atol=1e-6,
        )
    else:
        model.save(tmp_path / "model.keras")
        other = keras.saving.load_model(tmp_path / "model.keras")
    assert other.backbone.peft.bank_recipe == model.backbone.peft.bank_recipe
    np.testing.assert_array_equal(logits(other, points), logits(model, points))


@pytest.mark.once
def test_mixed_precision(clouds):
    points, labels = clouds
    model = small_classifier(method(), dtype="mixed_bfloat16")
    PriorBank.build(model, points, verbose=0).attach(model)
    history = model.fit(points, labels, batch_size=3, verbose=0)
    assert np.isfinite(history.history["loss"][0])
