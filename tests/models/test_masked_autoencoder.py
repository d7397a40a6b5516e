import keras
import numpy as np
import pytest
from keras import ops
from scipy.spatial.distance import cdist

from keras_pointpeft.layers import Linear
from keras_pointpeft.models import MaskedAutoencoder
from keras_pointpeft.models import PointMAEBackbone
from keras_pointpeft.models.pretraining.pretrainer import redraw
from keras_pointpeft.peft import DAPT
from keras_pointpeft.step.optimizer import decay_groups
from keras_pointpeft.step.optimizer import make_optimizer


def make_backbone(**kwargs):
    config = {
        "num_groups": 10,
        "group_size": 6,
        "dim": 24,
        "depth": 2,
        "num_heads": 3,
        "encoder_dims": (8, 16, 16),
        **kwargs,
    }
    return PointMAEBackbone(**config)


def make_model(backbone=None, **kwargs):
    config = {"decoder_depth": 1, "decoder_num_heads": 3, **kwargs}
    return MaskedAutoencoder(backbone or make_backbone(), **config)


def clouds(batch=4, points=40, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(batch, points, 3)).astype("float32")


def array(x):
    return np.array(ops.convert_to_numpy(x))


def test_redraw():
    first, second = Linear(64), Linear(64)
    norm = keras.layers.LayerNormalization()
    for layer in (first, second, norm):
        layer.build((None, 64))
    layers = (first, second, norm)
    redraw(layers, keras.initializers.RandomNormal, seed=0, stddev=0.02)
    assert array(first.kernel).std() == pytest.approx(0.02, rel=0.05)
    assert not np.array_equal(array(first.kernel), array(second.kernel))
    assert not array(first.bias).any()
    assert (array(norm.gamma) == 1).all()


@pytest.mark.slow
def test_published_size():
    model = MaskedAutoencoder(PointMAEBackbone())
    decayed, others = decay_groups(model)

    def count(variables):
        return sum(int(np.prod(v.shape)) for v in variables)

    assert count(model.trainable_variables) == 29_006_432
    assert count(decayed) == 28_939_392
    assert count(others) == 67_040


@pytest.mark.once
def test_shapes_and_order():
    model = make_model(mask_ratio=0.65)
    assert model.num_masked == 6
    points = clouds()
    rng = np.random.default_rng(1)
    hidden = np.argsort(rng.random((4, 10)), axis=1) < 6
    parts = model(points, hidden)
    assert parts["reconstruction"].shape == (4, 6, 6, 3)
    assert parts["visible_tokens"].shape == (4, 4, 24)
    patches = model.patches(points)
    for name, chosen in (("masked", hidden), ("visible", ~hidden)):
        expected = array(patches["centers"])[chosen].reshape(4, -1, 3)
        np.testing.assert_array_equal(array(parts[f"{name}_centers"]), expected)
    for name, chosen in (("target", hidden), ("visible_patches", ~hidden)):
        expected = array(patches["neighborhoods"])[chosen]
        np.testing.assert_array_equal(
            array(parts[name]), expected.reshape(4, -1, 6, 3)
        )


@pytest.mark.once
def test_encoder_does_not_see_hidden_patches():
    model = make_model()
    points = clouds()
    hidden = np.zeros((4, 10), bool)
    hidden[:, :6] = True
    tokens = model.patch_encoder(model.patches(points)["neighborhoods"])
    positions = model.position(model.patches(points)["centers"])
    x, p = tokens[:, 6:], positions[:, 6:]
    for block in model.blocks:
        x = block(x + p)
    np.testing.assert_allclose(
        array(model(points, hidden)["visible_tokens"]),
        array(model.norm(x)),
        atol=1e-5,
    )


def test_random_masks():
    model = make_model(seed=3)
    centers = clouds(batch=64, points=10)
    first, second = (array(model.draw_mask(centers)) for _ in range(2))
    assert first.dtype == bool
    for mask in (first, second):
        assert mask.shape == (64, 10)
        assert (mask.sum(axis=1) == 6).all()
    assert (first != second).any()
    assert len(np.unique(first, axis=0)) > 32
    assert 0.3 < first.mean(axis=0).min() < first.mean(axis=0).max() < 0.9
    again = array(make_model(seed=3).draw_mask(centers))
    np.testing.assert_array_equal(again, first)


@pytest.mark.once
def test_block_masks():
    model = make_model(mask_type="block", mask_ratio=0.4)
    centers = clouds(batch=32, points=10)
    masks = array(model.draw_mask(centers))
    for mask, cloud in zip(masks, centers):
        nearest = np.argsort(cdist(cloud, cloud), axis=1)[:, :4]
        possible = {frozenset(row) for row in nearest.tolist()}
        assert frozenset(np.flatnonzero(mask).tolist()) in possible
    assert len(np.unique(masks, axis=0)) > 4


@pytest.mark.parametrize("loss", ("chamfer_l2", "chamfer_l1"))
def test_loss(loss):
    model = make_model(loss=loss)
    parts = model(clouds())
    there, back = [], []
    for ours, truth in zip(
        array(parts["reconstruction"]).reshape(-1, 6, 3),
        array(parts["target"]).reshape(-1, 6, 3),
    ):
        distances = cdist(ours, truth)
        there.append(distances.min(axis=1))
        back.append(distances.min(axis=0))
    if loss == "chamfer_l2":
        expected = np.mean(np.square(there)) + np.mean(np.square(back))
    else:
        expected = (np.mean(there) + np.mean(back)) / 2
    found = float(array(model.compute_loss(y_pred=parts)))
    assert found == pytest.approx(expected, rel=1e-5)


def test_fit_trains_the_backbone_but_not_its_class_tokens():
    keras.utils.set_random_seed(0)
    backbone = make_backbone(drop_path_rate=0.1)
    model = make_model(backbone, decoder_drop_path_rate=0.1, seed=0)
    model.compile(make_optimizer(model, 3e-3, 0.05, clip_norm=None))
    unused = backbone.get_layer("class_tokens").variables
    ids = {id(variable) for variable in model.variables}
    assert not ids & {id(variable) for variable in unused}
    before = {v.path: array(v) for v in backbone.weights}
    losses = model.fit(
        clouds(batch=8), epochs=12, batch_size=4, verbose=0
    ).history["loss"]
    assert losses[-1] < 0.7 * losses[0]
    unchanged = {
        v.path
        for v in backbone.weights
        if "seed_generator" not in v.path
        and np.array_equal(array(v), before[v.path])
    }
    assert unchanged == {v.path for v in unused}
    loss = model.evaluate(clouds(batch=8), batch_size=4, verbose=0)
    assert np.isfinite(loss)
    # The last batch is smaller.
    predicted = model.predict(clouds(batch=5), batch_size=4, verbose=0)
    assert predicted["reconstruction"].shape == (5, 6, 6, 3)


@pytest.mark.once
def test_reconstruct():
    model = make_model()
    points = clouds()
    hidden = np.zeros((4, 10), bool)
    hidden[:, 1:7] = True
    parts = model(points, hidden)
    found = {k: array(v) for k, v in model.reconstruct(points, hidden).items()}
    assert found["points"].shape == (4, 60, 3)
    rebuilt = array(parts["reconstruction"])
    rebuilt = rebuilt + array(parts["masked_centers"])[:, :, None]
    np.testing.assert_allclose(
        found["points"][:, :36], rebuilt.reshape(4, 36, 3), atol=1e-5
    )
    np.testing.assert_array_equal(found["points"][:, 36:], found["visible"])
    np.testing.assert_array_equal(
        found["centers"][:, :6], array(parts["masked_centers"])
    )
    for cloud, seen in zip(points, found["visible"]):
        assert cdist(seen, cloud).min(axis=1).max() < 1e-5


@pytest.mark.once
def test_save_and_load(tmp_path):
    model = make_model(
        mask_type="block", loss="chamfer_l1", mask_ratio=0.5, seed=5
    )
    points = clouds()
    hidden = np.arange(40).reshape(4, 10) % 2 == 0
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    config = loaded.get_config()
    assert config["loss"] == "chamfer_l1"
    assert config["mask_type"] == "block"
    expected, found = model(points, hidden), loaded(points, hidden)
    for name in expected:
        np.testing.assert_array_equal(array(found[name]), array(expected[name]))
    ours, theirs = model.backbone.weights, loaded.backbone.weights
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(array(a), array(b))


@pytest.mark.once
def test_a_file_that_nobody_could_load_is_refused(tmp_path):
    path = tmp_path / "model.h5"
    with pytest.raises(ValueError, match="old format.*Received"):
        make_model().save(path)
    assert not path.exists()


@pytest.mark.once
def test_starting_point():
    backbone = make_backbone(dim=48)
    model = make_model(backbone)
    token = array(backbone.get_layer("class_tokens").token)
    model.initialize_backbone(seed=1)
    values = {v.path: array(v) for v in backbone.trainable_variables}
    for path, value in values.items():
        if path.endswith("/kernel") and value.size > 1000:
            assert value.std() == pytest.approx(0.02, rel=0.2)
        if path.endswith("/bias"):
            assert not value.any()
    first, second = values["block_0/qkv/kernel"], values["block_1/qkv/kernel"]
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(values["class_tokens/token"], token)
    model.initialize_backbone(seed=1)
    again = array(backbone.get_layer("block_0").qkv.kernel)
    np.testing.assert_array_equal(again, first)
    kernel = array(model.decoder_blocks[0].fc1.kernel)
    limit = np.sqrt(6 / sum(kernel.shape))
    assert 0.9 * limit < np.abs(kernel).max() <= limit
    assert not array(model.decoder_blocks[0].fc1.bias).any()


@pytest.mark.once
def test_mixed_precision():
    model = make_model(make_backbone(dtype="mixed_bfloat16"))
    assert model.compute_dtype == "bfloat16"
    parts = model(clouds())
    for name in ("reconstruction", "target", "masked_centers"):
        assert keras.backend.standardize_dtype(parts[name].dtype) == "float32"
    loss = model.compute_loss(y_pred=parts)
    assert np.isfinite(float(array(loss)))


@pytest.mark.once
@pytest.mark.parametrize(
    "arguments, message",
    (
        ({"mask_ratio": 0.05}, "mask_ratio"),
        ({"mask_ratio": 1.0}, "mask_ratio"),
        ({"mask_type": "rand"}, "mask_type"),
        ({"loss": "cdl2"}, "loss"),
    ),
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"{message}.*Received"):
        make_model(**arguments)


@pytest.mark.once
def test_tuned_backbone_is_refused():
    with pytest.raises(ValueError, match="without a fine-tuning method"):
        make_model(make_backbone(peft=DAPT(rank=4)))
