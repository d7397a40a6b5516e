"""STAG: what it adds, and that nothing before it takes part in training."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_pointpeft.checkpoints.transfer import CheckpointMismatch
from keras_pointpeft.checkpoints.writer import published_state
from keras_pointpeft.experiments.cost import bytes_kept
from keras_pointpeft.models import PointCloudClassifier
from keras_pointpeft.models import PointM2AEBackbone
from keras_pointpeft.models import frozen_stem
from keras_pointpeft.peft import STAG
from keras_pointpeft.verification.gradients import value_and_gradients
from tests.conftest import small_backbone
from tests.conftest import small_classifier


def tokens(backbone, points):
    outputs = backbone(points)
    parts = (outputs["class_tokens"], outputs["patch_tokens"])
    return np.concatenate([ops.convert_to_numpy(x) for x in parts], axis=1)


def test_the_side_network_by_its_formula(clouds):
    """Every block's tokens are read by themselves, and nothing is shared."""
    points = clouds[0]
    tuned = small_backbone(STAG(4, start=0.5, share=1), depth=4)
    plain = small_backbone(depth=4)
    own = {v.path: v for v in tuned.weights}
    for variable in plain.weights:
        variable.assign(own[variable.path])
    side = tuned.get_layer("tuner_geometry")
    outputs = keras.Model(
        plain.input,
        [
            plain.get_layer("patch_encoder").output,
            plain.get_layer("class_tokens").output,
            plain.output["centers"],
        ],
    )(points)
    x, places, near = map(ops.convert_to_numpy, (*outputs[1], outputs[2]))
    near = np.sum((near[:, :, None] - near[:, None]) ** 2, axis=-1)
    near = np.argsort(near, axis=-1, kind="stable")[..., :8]
    state = 0.0
    for i in range(4):
        state = state + ops.convert_to_numpy(side.downs[i](x[:, 1:]))
        block = plain.get_layer(f"block_{i}")
        x = ops.convert_to_numpy(block(x + places))
        if i < 2:
            continue
        step = side.steps[i - 2]
        theirs = ops.convert_to_numpy(step.neighbors(state))
        theirs = np.stack([t[n].max(axis=1) for t, n in zip(theirs, near)])
        own = ops.convert_to_numpy(step.own(state))
        state = ops.convert_to_numpy(step.fuse(own + theirs))
        moves = np.maximum(ops.convert_to_numpy(step.up(state)), 0.0)
        mean = moves.mean(axis=1, keepdims=True)
        moves = np.concatenate((mean, moves), axis=1)
        x = x + moves
    np.testing.assert_allclose(tokens(tuned, points), x, atol=2e-5)


@pytest.mark.parametrize("share", [None, 2])
def test_a_sum_is_read_as_its_parts_are(share, clouds):
    """What is read before the start, at once, and what every block would."""
    found, base = [], None
    for start in (0.75, 0.0):
        backbone = small_backbone(STAG(4, start, share), depth=4)
        own = [v for v in backbone.weights if "tuner" not in v.path]
        base = [v.numpy() for v in own] if base is None else base
        for variable, value in zip(own, base):
            variable.assign(value)
        side = backbone.get_layer("tuner_geometry")
        for step in side.steps:
            # Nothing is displaced, and the state goes on as it is.
            for layer in (step.own, step.neighbors, step.up):
                layer.kernel.assign(np.zeros(layer.kernel.shape))
                layer.bias.assign(np.zeros(layer.bias.shape))
            step.own.kernel.assign(np.eye(4))
            step.fuse.kernel.assign(np.eye(4))
            step.fuse.bias.assign(np.zeros(4))
        rng = np.random.default_rng(0)
        for down in side.downs:
            down.kernel.assign(rng.normal(size=down.kernel.shape))
            down.bias.assign(rng.normal(size=down.bias.shape))
        _, state = backbone.get_layer("tuner_tokens_3").output
        state = keras.Model(backbone.input, state)(clouds[0])
        found.append(ops.convert_to_numpy(state))
    np.testing.assert_allclose(*found, atol=1e-4)


@pytest.mark.once
def test_blocks_before_the_start_keep_nothing():
    """Three more frozen blocks in front keep no byte for the backward pass."""
    if keras.config.backend() != "torch":
        pytest.skip("only torch says what is kept")
    points = np.random.default_rng(0).normal(size=(2, 64, 3))
    points = ops.convert_to_tensor(points.astype("float32"))
    kept, first = [], []
    for before in (1, 4):
        peft = STAG(4, start=before / (before + 2))
        model = small_classifier(peft, depth=before + 2)
        seen = {}
        for i in range(before + 2):
            layer = model.backbone.get_layer(f"block_{i}")
            layer.register_forward_hook(
                lambda _, args, out, i=i: seen.update({i: out.requires_grad})
            )
        own = [v.value for v in model.variables]
        kept.append(
            bytes_kept(lambda: model(points, training=True).sum(), own)
        )
        first.append([i for i in sorted(seen) if seen[i]][0])
        assert all(seen[i] for i in range(before, before + 2))
    assert kept[0] == kept[1]
    assert first == [1, 4]


@pytest.mark.once
def test_what_is_computed_again_gives_the_same_gradients(clouds):
    """Where it starts from the tokens that the block keeps, too."""
    backbone = small_backbone(STAG(4, share=2), depth=4)
    model = PointCloudClassifier(backbone, 3, head_dims=(16,), dropout=0.0)
    found = {}
    for remat in ("none", "elementwise", "block"):
        backbone.remat = remat
        assert backbone.get_layer("tuner_tokens_3").remat == remat
        _, found[remat] = value_and_gradients(
            model, lambda call: ops.mean(call(clouds[0]) ** 2), training=True
        )
    expected = found.pop("none")
    assert any("step_0/own" in path for path in expected)
    for gradients in found.values():
        for path, value in expected.items():
            atol = 1e-3 * np.abs(value).max() + 1e-6
            np.testing.assert_allclose(gradients[path], value, atol=atol)


@pytest.mark.once
def test_the_stem_that_can_be_kept_reaches_to_the_start(clouds):
    points, labels = clouds
    model = small_classifier(STAG(4, start=0.5), depth=4)
    expected = ops.convert_to_numpy(model(points))
    stem, rest = frozen_stem.split(model)
    names = {layer.name for layer in stem.layers}
    assert {"block_0", "block_1"} <= names
    assert not {"block_2", "block_3"} & names
    kept = stem.predict(points, verbose=0)
    found = ops.convert_to_numpy(rest(kept))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.once
def test_the_class_token_is_kept_with_the_adapter(clouds, tmp_path):
    points, _ = clouds
    model = small_classifier(STAG(4))
    trained = {v.path for v in model.backbone.trainable_variables}
    assert trained and all("tuner_geometry" in path for path in trained)
    model.save_adapter(tmp_path)
    other = small_classifier(STAG(4))
    own = {v.path: v for v in model.backbone.weights}
    for variable in other.backbone.weights:
        if "class_tokens" not in variable.path:
            variable.assign(own[variable.path])
    before = ops.convert_to_numpy(other(points))
    expected = ops.convert_to_numpy(model(points))
    assert np.abs(before - expected).max() > 1e-4
    other.load_adapter(tmp_path)
    found = ops.convert_to_numpy(other(points))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.once
def test_of_stages_the_last_has_a_side_network():
    backbone = PointM2AEBackbone(
        (16, 8, 4), (8, 4, 4), (12, 18, 24), (1, 1, 2), peft=STAG(4)
    )
    names = [la.name for la in backbone.layers if "tuner" in la.name]
    assert names.count("tuner_geometry_2") == 1
    assert {"tuner_tokens_2", "tuner_tokens_3"} <= set(names)
    assert not {"tuner_tokens_0", "tuner_tokens_1"} & set(names)
    assert backbone.get_layer("block_2").tuner is None
    # It was published for none, and what is written says so.
    with pytest.raises(CheckpointMismatch, match="Received: tuner_geometry_2"):
        published_state(backbone)


@pytest.mark.once
@pytest.mark.parametrize(
    "wrong", [{"start": 1.0}, {"start": -0.1}, {"rank": 0}, {"share": 0}]
)
def test_arguments_out_of_their_range(wrong):
    with pytest.raises(ValueError, match="Received"):
        STAG(**wrong)
