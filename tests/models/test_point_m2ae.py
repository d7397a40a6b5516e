import keras
import numpy as np
import pytest
from keras import ops

from keras_pointpeft.layers import NearMask
from keras_pointpeft.layers import TokenPooling
from keras_pointpeft.models import HierarchicalMaskedAutoencoder
from keras_pointpeft.models import PointCloudClassifier
from keras_pointpeft.models import PointM2AEBackbone
from keras_pointpeft.peft import DAPT
from keras_pointpeft.peft import Full
from keras_pointpeft.peft import LinearProbe
from keras_pointpeft.peft import PointPEFT
from keras_pointpeft.peft import PriorBank
from keras_pointpeft.step.optimizer import decay_groups

pytestmark = pytest.mark.long

METHODS = {
    "plain": lambda: None,
    "dapt": lambda: DAPT(rank=4),
    "dapt_every_block": lambda: DAPT(rank=4, position=None),
    "full": Full,
    "linear": LinearProbe,
}


def hierarchy(peft=None, **kwargs):
    """Three stages that build and run in no time."""
    config = {
        "num_groups": (16, 8, 4),
        "group_sizes": (8, 4, 4),
        "dims": (12, 18, 24),
        "depths": (2, 2, 2),
        "num_heads": 3,
        "radii": (0.8, 1.2, 1.6),
        "encoder_dims": (8, 8, 16),
        **kwargs,
    }
    return PointM2AEBackbone(peft=peft, **config)


def classifier(peft=None, **kwargs):
    return PointCloudClassifier(hierarchy(peft, **kwargs), 3, head_dims=(16,))


def numbers(model):
    return {v.path: int(np.prod(v.shape)) for v in model.trainable_variables}


@pytest.mark.once
@pytest.mark.parametrize("method", METHODS)
def test_round_trip_and_independence(method, clouds, tmp_path):
    points, labels = clouds
    model = classifier(METHODS[method]())
    model.fit(points, labels, epochs=1, verbose=0)
    together = model.predict(points, verbose=0)
    alone = model.predict(points, batch_size=1, verbose=0)
    np.testing.assert_allclose(together, alone, atol=1e-6)
    model.save_to_preset(str(tmp_path))
    again = PointCloudClassifier.from_preset(str(tmp_path))
    np.testing.assert_array_equal(again.predict(points, verbose=0), together)
    assert again.backbone.get_config() == model.backbone.get_config()


@pytest.mark.once
def test_outputs(clouds):
    outputs = hierarchy()(clouds[0])
    assert {k: tuple(v.shape) for k, v in outputs.items()} == {
        "patch_tokens": (6, 4, 24),
        "centers": (6, 4, 3),
    }
    outputs = hierarchy(DAPT(rank=4))(clouds[0])
    assert tuple(outputs["prompt_tokens"].shape) == (6, 2, 24)
    assert tuple(outputs["patch_tokens"].shape) == (6, 4, 24)
    stage = hierarchy(DAPT(rank=4)).features((0, 1, 2))(clouds[0])
    assert [tuple(x.shape[1:]) for x in stage] == [(17, 12), (18, 12), (9, 18)]


@pytest.mark.once
def test_tokens_see_only_their_neighbours():
    """Moving one far point changes no token that cannot see it."""
    rng = np.random.default_rng(0)
    near = rng.normal(scale=0.1, size=(1, 40, 3))
    far = near + 10.0
    points = np.concatenate((near, far), axis=1).astype("float32")
    moved = points.copy()
    moved[:, 40:] += 1.0
    for peft, same in ((None, True), (DAPT(rank=4), False)):
        backbone = hierarchy(peft, depths=(1, 3, 2))
        for variable in backbone.weights:
            if variable.path.endswith("adapter/up/kernel"):
                variable.assign(rng.normal(size=variable.shape))
            elif variable.path.endswith("adapter/scale/bias"):
                variable.assign([2.0])
        tokens = backbone.features((3,))
        before = ops.convert_to_numpy(tokens(points)[0])[:, -8:]
        after = ops.convert_to_numpy(tokens(moved)[0])[:, -8:]
        centers = keras.Model(
            backbone.input, backbone.get_layer("patches_1").output[0]
        )
        index = ops.convert_to_numpy(centers(points))[0, :, 0] < 5.0
        assert 0 < index.sum() < 8
        # Prompts alone carry news from afar.
        equal = np.allclose(before[0][index], after[0][index], atol=1e-5)
        assert equal == same


@pytest.mark.once
def test_prompts_stay_in_their_stage(clouds):
    """The next stage gathers patch tokens, whatever stands before them."""
    plain, tuned = hierarchy(), hierarchy(DAPT(rank=4, sites=()))
    values = {v.path: v for v in plain.weights}
    for variable in tuned.weights:
        if variable.path in values:
            variable.assign(values[variable.path])
    first = [m.get_layer("patch_encoder_1").output for m in (plain, tuned)]
    models = [keras.Model(m.input, x) for m, x in zip((plain, tuned), first)]
    shapes = [tuple(m(clouds[0]).shape) for m in models]
    assert shapes == [(6, 8, 18)] * 2


def test_near_mask_is_that_of_distances():
    centers = np.random.default_rng(0).normal(size=(2, 9, 3)).astype("float32")
    mask = ops.convert_to_numpy(NearMask(1.0)(centers))
    gaps = np.linalg.norm(centers[:, :, None] - centers[:, None], axis=-1)
    np.testing.assert_array_equal(mask, gaps < 1.0)
    with pytest.raises(ValueError, match="radius=0"):
        NearMask(0)


def test_pooling_side_by_side():
    tokens = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    pool = TokenPooling(None, None, "mean,max_but_first")
    feature = ops.convert_to_numpy(pool({"patch_tokens": tokens}))
    expected = (tokens.mean(axis=1), tokens[:, 1:].max(axis=1))
    np.testing.assert_allclose(
        feature, np.concatenate(expected, axis=1), atol=1e-6
    )
    shape = pool.compute_output_shape({"patch_tokens": (2, 5, 3)})
    assert shape == (2, 6)
    with pytest.raises(ValueError, match="mean,maximum"):
        TokenPooling(None, None, "mean,maximum")


@pytest.mark.once
def test_what_trains():
    backbone = numbers(hierarchy(Full()))
    assert backbone == numbers(hierarchy())
    assert not numbers(hierarchy(LinearProbe()))
    tuned = numbers(hierarchy(DAPT(rank=4)))
    assert tuned and all("tuner" in path for path in tuned)
    blocks = {path.split("/")[0] for path in tuned if path[:5] == "block"}
    assert blocks == {f"block_{i}" for i in range(6)}


@pytest.mark.once
def test_patch_encoders_do_not_decay():
    decayed, spared = decay_groups(classifier())
    assert not any("patch_encoder" in v.path for v in decayed)
    assert any(v.path == "patch_encoder_0/conv1/kernel" for v in spared)
    assert any(v.path == "position_0/fc1/kernel" for v in decayed)


@pytest.mark.once
def test_stages_must_agree():
    with pytest.raises(ValueError, match="depths.*Received"):
        hierarchy(depths=(2, 2))


# === Pre-training ===


def autoencoder(depths=(2, 2, 2), **kwargs):
    backbone = hierarchy(
        num_groups=(32, 16, 10), group_sizes=(8, 4, 3), depths=depths
    )
    return HierarchicalMaskedAutoencoder(
        backbone, decoder_num_heads=3, seed=0, **kwargs
    )


def drawn(model, points):
    stages = model._cut(points)
    hidden = ops.convert_to_numpy(model.draw_mask(stages[-1]["centers"]))
    return stages, hidden


@pytest.mark.once
def test_hidden_below_is_what_no_visible_patch_is_made_of(clouds):
    model = autoencoder()
    stages, hidden = drawn(model, clouds[0])
    assert (hidden.sum(axis=1) == model.num_masked).all()
    found = model._encode(stages, ~hidden, model.num_visible)
    visible = ~hidden
    for i in (1, 0):
        neighbors = ops.convert_to_numpy(stages[i + 1]["neighbors"])
        expected = np.zeros((6, model.backbone.num_groups[i]), bool)
        for b in range(6):
            expected[b, neighbors[b][visible[b]]] = True
        got = ops.convert_to_numpy(found[i]["visible"])
        np.testing.assert_array_equal(got, expected)
        packing = found[i]["packing"]
        real = ops.convert_to_numpy(packing.real)
        np.testing.assert_array_equal(real.sum(axis=1), expected.sum(axis=1))
        visible = expected


@pytest.mark.once
def test_reconstruction_does_not_depend_on_the_batch(clouds):
    """Not so in the published code, which `reference` reproduces."""
    points = clouds[0]
    model = autoencoder()
    _, hidden = drawn(model, points)
    parts = model(points, hidden)
    # A sample whose first token is hidden; the published code shows it if
    # the sample is the first of its batch.
    first = ops.convert_to_numpy(parts["hidden"])[1:, 0]
    assert first.any()
    one = slice(1 + first.argmax(), 2 + first.argmax())
    for reference in (False, True):
        model = autoencoder(reference=reference)
        together = model(points, hidden)
        alone = model(points[one], hidden[one])
        same = [
            np.allclose(
                ops.convert_to_numpy(together[name])[one],
                ops.convert_to_numpy(alone[name]),
                atol=1e-5,
            )
            for name in ("reconstruction", "hidden")
        ]
        assert same == [not reference] * 2


def test_pretraining_trains_the_backbone(clouds, tmp_path):
    points = clouds[0]
    model = autoencoder(depths=(1, 1, 1))
    kernels = [
        v for v in model.backbone.trainable_variables if v.name == "kernel"
    ]
    before = [np.array(ops.convert_to_numpy(kernel)) for kernel in kernels]
    model.compile("adam")
    losses = model.fit(points, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    for kernel, old in zip(kernels, before):
        new = ops.convert_to_numpy(kernel)
        assert not np.array_equal(new, old), kernel.path
    features = [ops.convert_to_numpy(f) for f in model.stage_features(points)]
    assert [f.shape for f in features] == [(6, 12), (6, 18), (6, 24)]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for a, b in zip(features, again.stage_features(points)):
        np.testing.assert_allclose(a, ops.convert_to_numpy(b), atol=1e-6)
    model.backbone.save_to_preset(str(tmp_path / "backbone"))
    loaded = PointM2AEBackbone.from_preset(str(tmp_path / "backbone"))
    for a, b in zip(loaded.weights, model.backbone.weights, strict=True):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(a), ops.convert_to_numpy(b), a.path
        )


@pytest.mark.once
def test_pretraining_says_what_it_needs():
    with pytest.raises(ValueError, match="peft"):
        HierarchicalMaskedAutoencoder(hierarchy(Full()))
    with pytest.raises(ValueError, match="mask_ratio=0.01"):
        autoencoder(mask_ratio=0.01)
    with pytest.raises(ValueError, match="loss='l3'"):
        autoencoder(loss="l3")


# === Point-PEFT ===


def prompted(**kwargs):
    config = {
        "num_prompts": 4,
        "prompt_blocks": 6,
        "bank_size": 6,
        "prior_num_groups": None,
        "prior_group_size": None,
        "adapter_rank": 4,
        **kwargs,
    }
    return PointPEFT(**config)


@pytest.mark.once
@pytest.mark.parametrize("frozen_bn", ["inference", "track"])
def test_bank_of_a_hierarchy(frozen_bn, clouds, tmp_path):
    points, labels = clouds
    model = classifier(prompted(frozen_bn=frozen_bn))
    bank = PriorBank.build(model, points, dtype="float32", verbose=0)
    bank.save(tmp_path / "bank.npz")
    PriorBank.load(tmp_path / "bank.npz").attach(model)
    query = keras.Model(
        model.backbone.input, model.backbone.get_layer("frozen_pass").output
    )
    feature = ops.convert_to_numpy(query(points))
    feature /= np.linalg.norm(feature, axis=1, keepdims=True)
    np.testing.assert_allclose(feature, bank.features, atol=1e-5)
    model.fit(points, labels, epochs=1, verbose=0)
    together = model.predict(points, verbose=0)
    alone = model.predict(points, batch_size=1, verbose=0)
    np.testing.assert_allclose(together, alone, atol=1e-6)
    model.save_adapter(tmp_path / "adapter")


@pytest.mark.once
def test_the_last_stage_alone_reads_the_bank():
    paths = {v.path for v in hierarchy(prompted()).trainable_variables}
    prior = {path for path in paths if "/tuner/prompt/adapter/" in path}
    assert {path.split("/")[0] for path in prior} == {"block_4", "block_5"}
    prompts = [path for path in paths if path.endswith("prompt/embeddings")]
    assert len(prompts) == 6
    with pytest.raises(ValueError, match="3 stages.*Received: 64"):
        hierarchy(PointPEFT())


@pytest.mark.once
def test_gates_start_without_the_mlp():
    backbone = hierarchy(prompted(prior=False, gated=True))
    gates = [v for v in backbone.trainable_variables if v.name == "gate"]
    assert len(gates) == 6
    assert all(float(ops.convert_to_numpy(gate)[0]) == 0.0 for gate in gates)
