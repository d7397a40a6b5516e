import keras
import numpy as np
import pytest
from keras import ops

from keras_pointpeft.layers import CategoryEmbedding
from keras_pointpeft.layers import CategoryTable
from keras_pointpeft.layers import FeaturePropagation
from keras_pointpeft.layers import GraphPropagation
from keras_pointpeft.layers import Linear
from keras_pointpeft.layers import PointHead
from keras_pointpeft.layers import TokenDecoder


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def numpy(x):
    return np.asarray(ops.convert_to_numpy(x))


def normed(layer, x):
    """A BatchNorm in inference."""
    mean, variance = numpy(layer.moving_mean), numpy(layer.moving_variance)
    scale = numpy(layer.gamma) / np.sqrt(variance + 1e-5)
    return (x - mean) * scale + numpy(layer.beta)


def test_products_add_up_to_the_layer():
    layer = Linear(5)
    a, b = draw(2, 4, 3), draw(2, 4, 6, seed=1)
    whole = layer(np.concatenate((a, b), axis=-1))
    x, y = layer.products(ops.convert_to_tensor(a), ops.convert_to_tensor(b))
    np.testing.assert_allclose(
        numpy(x + y + layer.bias), numpy(whole), atol=1e-5
    )


@pytest.mark.parametrize("side_by_side", [False, True])
def test_propagation_is_interpolation_then_layers(side_by_side):
    points, centers = draw(2, 20, 3), draw(2, 5, 3, seed=1)
    known, tokens = draw(2, 20, 4, seed=2), draw(2, 5, 6, seed=3)
    layer = FeaturePropagation((8, 7), side_by_side=side_by_side)
    found = numpy(layer(points, centers, known, tokens))
    squared = ((points[:, :, None] - centers[:, None]) ** 2).sum(-1)
    nearest = np.argsort(squared, axis=-1, kind="stable")[..., :3]
    weights = 1 / (np.take_along_axis(squared, nearest, -1) + 1e-8)
    weights /= weights.sum(axis=-1, keepdims=True)
    carried = np.stack([t[n] for t, n in zip(tokens, nearest)])
    carried = carried * weights[..., None]
    carried = carried.reshape(2, 20, 18) if side_by_side else carried.sum(2)
    x = np.concatenate((known, carried), axis=-1)
    for linear, norm in zip(layer.linears, layer.norms):
        x = x @ numpy(linear.kernel) + numpy(linear.bias)
        x = np.maximum(normed(norm, x), 0)
    np.testing.assert_allclose(found, x, atol=1e-4)


def test_graph_propagation_takes_the_largest_edge():
    sources, points = draw(1, 6, 3), draw(1, 9, 3, seed=1)
    known, features = draw(1, 6, 8, seed=2), draw(1, 9, 8, seed=3)
    layer = GraphPropagation((12, 8), num_neighbors=2)
    found = numpy(layer(sources, known, points, features))

    def step(number, sources, known, points, features):
        squared = ((points[:, None] - sources[None]) ** 2).sum(-1)
        index = np.argsort(squared, axis=-1, kind="stable")[:, :2]
        own = np.repeat(features[:, None], 2, axis=1)
        edge = np.concatenate((known[index] - own, own), axis=-1)
        x = edge @ numpy(layer.linears[number].kernel)
        groups = x.reshape(-1, 4, x.shape[-1] // 4)
        mean = groups.mean(axis=(0, 2), keepdims=True)
        variance = groups.var(axis=(0, 2), keepdims=True)
        x = ((groups - mean) / np.sqrt(variance + 1e-5)).reshape(x.shape)
        return np.where(x > 0, x, 0.2 * x).max(axis=1)

    x = step(0, sources[0], known[0], points[0], features[0])
    x = step(1, points[0], x, points[0], x)
    np.testing.assert_allclose(found[0], x, atol=1e-4)


@pytest.mark.parametrize("context_first", [False, True])
def test_head_reads_features_and_context_side_by_side(context_first):
    features, context = draw(2, 10, 6), draw(2, 4, seed=1)
    head = PointHead(3, (8, 5), 0.5, context_first)
    found = numpy(head(features, context))
    repeated = np.repeat(context[:, None], 10, axis=1)
    parts = [features, repeated]
    x = np.concatenate(parts[::-1] if context_first else parts, axis=-1)
    for linear, norm in zip(head.linears, head.norms):
        x = x @ numpy(linear.kernel) + numpy(linear.bias)
        x = np.maximum(normed(norm, x), 0)
    x = x @ numpy(head.logits.kernel) + numpy(head.logits.bias)
    np.testing.assert_allclose(found, x, atol=1e-4)
    assert [layer.rate for layer in head.dropouts] == [0.5, 0.0]


def test_a_head_with_norms_of_layers():
    features = draw(2, 10, 6)
    head = PointHead(3, (8,), use_norm="layer")
    head.build((None, None, 6))
    (linear,), (norm,) = head.linears, head.norms
    x = features @ numpy(linear.kernel) + numpy(linear.bias)
    norm.gamma.assign(draw(8, seed=1))
    found = numpy(head(features))
    x = x - x.mean(axis=-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5)
    x = np.maximum(x * numpy(norm.gamma), 0)
    x = x @ numpy(head.logits.kernel) + numpy(head.logits.bias)
    np.testing.assert_allclose(found, x, atol=1e-4)
    with pytest.raises(ValueError, match="'layer'.*Received"):
        PointHead(3, (8,), use_norm="group")


def test_a_table_has_a_row_for_each_category():
    layer = CategoryTable(3, 4)
    found = numpy(layer(np.array([2, 0])))
    np.testing.assert_array_equal(found, numpy(layer.table)[[2, 0]])


def test_token_decoder_begins_with_the_deepest():
    early, late = draw(2, 5, 6), draw(2, 5, 6, seed=1)
    decoder = TokenDecoder(8)
    found = numpy(decoder([early, late]))
    first, second = decoder.blocks
    y = first(decoder.narrows[0](late))
    y = second(decoder.narrows[1](early) + y)
    np.testing.assert_allclose(found, numpy(y), atol=1e-5)
    # Dropout and stochastic depth act in training.
    assert np.abs(numpy(decoder([early, late], training=True)) - found).max()


def test_category_is_a_row_of_the_kernel():
    layer = CategoryEmbedding(3, 4)
    found = numpy(layer(np.array([2, 0])))
    x = normed(layer.norm, numpy(layer.fc.kernel)[[2, 0]])
    np.testing.assert_allclose(found, np.where(x > 0, x, 0.2 * x), atol=1e-6)


@pytest.mark.once
@pytest.mark.parametrize(
    "layer",
    [
        FeaturePropagation((8, 7)),
        GraphPropagation((12, 8), 2),
        PointHead(3, (8,), context_first=True),
        CategoryEmbedding(3),
        CategoryTable(3),
        FeaturePropagation((8,), side_by_side=True),
        PointHead(3, (8,), use_norm="layer"),
        TokenDecoder(8),
    ],
)
def test_configs(layer):
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == layer.get_config()


@pytest.mark.once
def test_a_head_needs_a_hidden_layer():
    with pytest.raises(ValueError, match="at least one.*Received"):
        PointHead(3, ())
