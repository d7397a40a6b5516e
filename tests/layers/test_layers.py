import keras
import numpy as np
import pytest
from keras import ops

from keras_pointpeft.layers import BatchNorm
from keras_pointpeft.layers import ClassificationHead
from keras_pointpeft.layers import ClassTokens
from keras_pointpeft.layers import CodedPositionMLP
from keras_pointpeft.layers import Dropout
from keras_pointpeft.layers import DropPath
from keras_pointpeft.layers import PatchEncoder
from keras_pointpeft.layers import PointPatches
from keras_pointpeft.layers import PositionMLP
from keras_pointpeft.layers import SplitTokens
from keras_pointpeft.layers import TokenPooling
from keras_pointpeft.layers import TransformerBlock


def normal(*shape):
    return np.random.default_rng(1).normal(size=shape).astype("float32")


CASES = {
    "batch_norm": (BatchNorm, {}, normal(2, 5, 4)),
    "drop_path": (DropPath, {"rate": 0.3}, normal(2, 5, 4)),
    "point_patches": (
        PointPatches,
        {"num_groups": 4, "group_size": 3},
        normal(2, 20, 3),
    ),
    "patch_encoder": (
        PatchEncoder,
        {"dim": 6, "hidden_dims": (4, 5, 7)},
        normal(2, 4, 3, 3),
    ),
    "position": (PositionMLP, {"dim": 6, "hidden_dim": 5}, normal(2, 4, 3)),
    "coded position": (CodedPositionMLP, {"dim": 12}, normal(2, 4, 3)),
    "split": (
        SplitTokens,
        {"num_class_tokens": 1, "num_patches": 3},
        normal(2, 6, 4),
    ),
    "head": (
        ClassificationHead,
        {"num_classes": 3, "hidden_dims": (5,)},
        normal(4, 6),
    ),
    "block": (TransformerBlock, {"dim": 6, "num_heads": 3}, normal(2, 5, 6)),
}


def shapes(x):
    return keras.tree.map_structure(lambda t: tuple(t.shape), x)


@pytest.mark.parametrize("name", CASES)
def test_layer_contract(name):
    cls, config, inputs = CASES[name]
    layer = cls(**config)
    outputs = layer(inputs)
    # Symbolic shapes are the eager ones.
    symbolic = cls(**config)(keras.KerasTensor(inputs.shape))
    assert shapes(symbolic) == shapes(outputs)
    # The config makes the same layer again.
    again = cls.from_config(layer.get_config())
    again(inputs)
    assert [v.path for v in again.weights] == [v.path for v in layer.weights]
    again.set_weights(layer.get_weights())
    for a, b in zip(
        keras.tree.flatten(again(inputs)), keras.tree.flatten(outputs)
    ):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(a), ops.convert_to_numpy(b)
        )
    # Mixed precision: weights stay float32.
    mixed = cls(**config, dtype="mixed_bfloat16")
    mixed(inputs)
    assert {v.dtype for v in mixed.weights} <= {"float32", "uint32", "int64"}


def test_batch_norm_is_pytorchs():
    x = normal(3, 7, 4) * 2 + 1
    layer = BatchNorm()
    y = ops.convert_to_numpy(layer(x, training=True))
    flat = x.reshape(-1, 4).astype("float64")
    mean, biased = flat.mean(0), flat.var(0)
    np.testing.assert_allclose(
        y, (x - mean) / np.sqrt(biased + 1e-5), atol=1e-5
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer.moving_mean), 0.1 * mean, atol=1e-6
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer.moving_variance),
        0.9 + 0.1 * flat.var(0, ddof=1),
        atol=1e-6,
    )


def test_batch_norm_follows_its_batches_when_frozen():
    layer = BatchNorm()
    x = normal(3, 7, 4) + 5
    layer.build(x.shape)
    layer.gamma.trainable = layer.beta.trainable = False
    layer(x, training=True)
    assert ops.convert_to_numpy(layer.moving_mean).min() > 0.3


def test_batch_norm_keeps_frozen_statistics():
    layer = BatchNorm(frozen_statistics=True)
    x = normal(3, 7, 4) + 5
    y = layer(x, training=True)
    np.testing.assert_allclose(
        ops.convert_to_numpy(y), x / np.sqrt(1 + 1e-5), rtol=1e-5
    )
    assert not ops.convert_to_numpy(layer.moving_mean).any()


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    layer = DropPath(0.25, seed=3)
    x = np.ones((4000, 2, 3), "float32")
    y = ops.convert_to_numpy(layer(x, training=True))
    per_sample = y.reshape(len(y), -1)
    assert (per_sample == per_sample[:, :1]).all()
    values = set(np.unique(per_sample))
    assert values == {0.0, np.float32(1 / 0.75)}
    assert abs(y.mean() - 1) < 0.03
    np.testing.assert_array_equal(
        ops.convert_to_numpy(layer(x, training=False)), x
    )


@pytest.mark.once
@pytest.mark.parametrize("kind", (Dropout, DropPath))
@pytest.mark.parametrize("rate", (1.0, -0.1, float("nan")))
def test_rates_that_leave_nothing(kind, rate):
    """On torch, what is left of nothing would be NaN."""
    with pytest.raises(ValueError, match=f"below 1. Received: rate={rate}"):
        kind(rate)


def test_patches_are_the_nearest_points():
    points = normal(2, 40, 3)
    patches = PointPatches(5, 6)(points)
    patches = {k: ops.convert_to_numpy(v) for k, v in patches.items()}
    for b in range(2):
        for g in range(5):
            center = patches["centers"][b, g]
            distances = ((points[b] - center) ** 2).sum(-1)
            nearest = set(np.argsort(distances, kind="stable")[:6])
            assert set(patches["neighbors"][b, g]) == nearest
            np.testing.assert_allclose(
                patches["neighborhoods"][b, g],
                points[b][patches["neighbors"][b, g]] - center,
            )
    np.testing.assert_array_equal(patches["centers"][:, 0], points[:, 0])


@pytest.mark.once
def test_patches_refuse_small_clouds():
    with pytest.raises(ValueError, match="too small for 8 groups"):
        PointPatches(8, 4)(normal(2, 6, 3))
    with pytest.raises(ValueError, match="3 coordinates"):
        PointPatches(4, 4)(normal(2, 6, 4))


def test_patch_encoder_is_the_mini_pointnet():
    """Against the layers written out, with the patch's maximum repeated."""
    x = normal(2, 4, 5, 3)
    layer = PatchEncoder(6, (4, 5, 7))
    y = ops.convert_to_numpy(layer(x))
    w = {v.path.split("/", 1)[1]: v.numpy() for v in layer.weights}

    def linear(x, name):
        return x @ w[f"{name}/kernel"] + w[f"{name}/bias"]

    def norm(x):
        return x / np.sqrt(1 + 1e-5)

    h = linear(np.maximum(norm(linear(x, "conv1")), 0), "conv2")
    whole = np.repeat(h.max(2, keepdims=True), 5, axis=2)
    h = linear(np.concatenate((whole, h), -1), "conv3")
    h = linear(np.maximum(norm(h), 0), "conv4")
    np.testing.assert_allclose(y, h.max(2), atol=1e-5)


def test_class_tokens_come_first():
    layer = ClassTokens(4)
    tokens, positions = layer(normal(3, 5, 4), normal(3, 5, 4) + 1)
    tokens = ops.convert_to_numpy(tokens)
    assert tokens.shape == (3, 6, 4)
    np.testing.assert_array_equal(tokens[:, 1:], normal(3, 5, 4))
    np.testing.assert_array_equal(tokens[1, :1], layer.token.numpy()[0])
    np.testing.assert_array_equal(
        ops.convert_to_numpy(positions)[2, :1], layer.position.numpy()[0]
    )


def test_block_attends_as_written_out():
    x = normal(2, 5, 6)
    block = TransformerBlock(6, 3)
    y = ops.convert_to_numpy(block(x))
    w = {v.path.split("/", 1)[1]: v.numpy() for v in block.weights}

    def norm(x):
        mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) / np.sqrt(var + 1e-5)

    def gelu(x):
        from math import erf

        return x * (1 + np.vectorize(erf)(x / np.sqrt(2))) / 2

    q, k, v = np.split(norm(x) @ w["qkv/kernel"], 3, axis=-1)
    heads = []
    for h in range(3):
        s = slice(2 * h, 2 * h + 2)
        scores = q[..., s] @ k[..., s].transpose(0, 2, 1) / np.sqrt(2)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        heads.append(scores / scores.sum(-1, keepdims=True) @ v[..., s])
    h = np.concatenate(heads, -1) @ w["proj/kernel"] + w["proj/bias"]
    h = x + h
    m = gelu(norm(h) @ w["fc1/kernel"] + w["fc1/bias"])
    expected = h + m @ w["fc2/kernel"] + w["fc2/bias"]
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_block_obeys_a_mask():
    block = TransformerBlock(6, 3)
    x = normal(1, 5, 6)
    mask = np.ones((1, 5, 5), bool)
    mask[:, :, 4] = False  # nobody but itself reads the last token
    mask[:, 4, 4] = True
    changed = x.copy()
    changed[:, 4] += 1
    a = ops.convert_to_numpy(
        block(x, attention_mask=ops.convert_to_tensor(mask))
    )
    b = ops.convert_to_numpy(
        block(changed, attention_mask=ops.convert_to_tensor(mask))
    )
    np.testing.assert_array_equal(a[:, :4], b[:, :4])
    assert np.abs(a[:, 4] - b[:, 4]).max() > 0.1


def test_pooling():
    features = {
        "class_tokens": normal(2, 1, 4),
        "prompt_tokens": normal(2, 3, 4) + 1,
        "patch_tokens": normal(2, 5, 4) + 2,
    }
    pooled = TokenPooling("first", "mean", "max")(features)
    expected = np.concatenate(
        (
            features["class_tokens"][:, 0],
            features["prompt_tokens"].mean(1),
            features["patch_tokens"].max(1),
        ),
        axis=-1,
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(pooled), expected, rtol=1e-6
    )


@pytest.mark.once
def test_pooling_errors():
    with pytest.raises(ValueError, match="At least one"):
        TokenPooling(None, None, None)
    with pytest.raises(ValueError, match="`patch_token`.*Received: 'maxx'"):
        TokenPooling(patch_token="maxx")
    with pytest.raises(ValueError, match="prompt_tokens"):
        TokenPooling(prompt_token="mean")(
            {"class_tokens": normal(2, 1, 4), "patch_tokens": normal(2, 5, 4)}
        )
