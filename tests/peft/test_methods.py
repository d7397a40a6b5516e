"""The methods without recorded cases, against closed forms; all of them."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_pointpeft import peft
from keras_pointpeft.layers import TransformerBlock
from keras_pointpeft.layers.tuner import NO_TUNER
from keras_pointpeft.ops import morton_order
from keras_pointpeft.ops.arithmetic import affine
from keras_pointpeft.peft.neighborhoods import EdgeConv
from keras_pointpeft.peft.point_gst.spectral_basis import eigenvectors
from keras_pointpeft.peft.point_gst.spectral_basis import graph_laplacian
from tests.conftest import small_backbone
from tests.conftest import small_classifier

DIM = 12
SHAPE = (2, 5, DIM)


def block(method=None, **kwargs):
    tuner = None
    if method is not None:
        tuner = method.block_tuner(peft.Where(DIM))
    layer = TransformerBlock(DIM, 3, tuner=tuner, **kwargs)
    layer.build(SHAPE)
    return layer


def pair(method, **kwargs):
    """A tuned block with stirred weights, and the same without tuner."""
    tuned, plain = block(method, **kwargs), block(**kwargs)
    rng = np.random.default_rng(0)
    for variable in tuned.tuner.weights:
        if "seed" not in variable.path:
            variable.assign(0.3 * rng.normal(size=variable.shape))
    targets = {v.path.split("/", 1)[1]: v for v in plain.weights}
    for variable in tuned.weights:
        path = variable.path.split("/", 1)[1]
        if path in targets:
            targets[path].assign(variable.numpy())
    return tuned, plain


@pytest.fixture
def tokens():
    return np.random.default_rng(1).normal(size=SHAPE).astype("float32")


def run(layer, tokens, **kwargs):
    return ops.convert_to_numpy(layer(tokens, {}, **kwargs))


@pytest.mark.parametrize("target", ["qkv", "proj", "fc1", "fc2"])
def test_lora_is_a_change_of_the_kernel(target, tokens):
    tuned, plain = pair(peft.LoRA(rank=2, alpha=3, targets=(target,)))
    update = tuned.tuner.update_at(target)
    down, up = update.down.kernel.numpy(), update.up.kernel.numpy()
    layer = getattr(plain, target)
    layer.kernel.assign(layer.kernel.numpy() + 1.5 * down @ up)
    np.testing.assert_allclose(
        run(tuned, tokens), run(plain, tokens), atol=2e-5
    )


def test_ssf_scales_and_shifts(tokens):
    tuned, _ = pair(peft.SSF(sites=("qkv", "fc2")))
    x = np.random.default_rng(2).normal(size=(2, 3 * DIM)).astype("float32")
    transform = tuned.tuner.transform_at("qkv")
    expected = x * transform.gamma.numpy() + transform.beta.numpy()
    x = ops.convert_to_tensor(x)
    found = affine(x, *tuned.tuner.affine("qkv"))
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, atol=1e-6)
    assert tuned.tuner.affine("proj") is None


def gelu(x):
    return ops.convert_to_numpy(ops.gelu(x, approximate=False))


def bottleneck(adapter, x, activation):
    hidden = x @ adapter.down.kernel.numpy() + adapter.down.bias.numpy()
    up = adapter.up
    return activation(hidden) @ up.kernel.numpy() + up.bias.numpy()


def test_serial_adapters_stand_behind_the_branches(tokens):
    tuned, plain = pair(peft.Adapter(rank=3))
    inner = plain._attend(plain.qkv(plain.norm1(tokens)), None, _no_tuner())
    y = ops.convert_to_numpy(plain.proj(inner))
    y = y + bottleneck(tuned.tuner.proj_adapter, y, gelu)
    x = tokens + y
    hidden = ops.gelu(plain.fc1(plain.norm2(x)), approximate=False)
    y = ops.convert_to_numpy(plain.fc2(hidden))
    y = y + bottleneck(tuned.tuner.fc2_adapter, y, gelu)
    np.testing.assert_allclose(run(tuned, tokens), x + y, atol=2e-5)


def _no_tuner():
    return NO_TUNER


def test_adaptformer_stands_beside_norm_and_mlp(tokens):
    tuned, plain = pair(peft.AdaptFormer(rank=3, scale=0.5, dropout=0.0))
    inner = plain._attend(plain.qkv(plain.norm1(tokens)), None, _no_tuner())
    x = tokens + ops.convert_to_numpy(plain.proj(inner))
    side = bottleneck(tuned.tuner.adapter, x, lambda z: np.maximum(z, 0.0))
    np.testing.assert_allclose(
        run(tuned, tokens), run(plain, tokens) + 0.5 * side, atol=2e-5
    )


def attention(query, key, value):
    scores = query @ key.T / np.sqrt(query.shape[1])
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True) @ value


@pytest.mark.parametrize("causal", [False, True])
def test_prefixes_are_further_keys_and_values(causal, tokens):
    tuned, plain = pair(peft.PrefixTuning(num_prefixes=2), causal=causal)
    qkv = ops.convert_to_numpy(plain.qkv(plain.norm1(tokens)))
    heads, width = 3, DIM // 3
    split = qkv.reshape(2, 5, 3, heads, width)
    keys = tuned.tuner.keys.numpy().reshape(2, heads, width)
    values = tuned.tuner.values.numpy().reshape(2, heads, width)
    mixed = np.zeros((2, 5, heads, width))
    for b, t, h in np.ndindex(2, 5, heads):
        seen = t + 1 if causal else 5
        key = np.concatenate((keys[:, h], split[b, :seen, 1, h]))
        value = np.concatenate((values[:, h], split[b, :seen, 2, h]))
        mixed[b, t, h] = attention(split[b, t : t + 1, 0, h], key, value)[0]
    found = tuned._attend(qkv, None, tuned.tuner)
    np.testing.assert_allclose(
        ops.convert_to_numpy(found), mixed.reshape(SHAPE), atol=2e-5
    )


def test_shallow_prompts_are_tokens(clouds):
    points, _ = clouds
    tuned = small_backbone(peft.VPT(3, deep=False))
    outputs = tuned(points)
    assert outputs["prompt_tokens"].shape[1] == 3
    assert tuned.get_layer("block_1").tuner is None
    deep = small_backbone(peft.VPT(3, deep=True))(points)
    assert "prompt_tokens" not in deep


def test_edge_convolution_is_one_over_differences(tokens):
    layer = EdgeConv(num_neighbors=3)
    layer.build(SHAPE)
    kernel = layer.linear.kernel.numpy()
    found = ops.convert_to_numpy(layer(tokens))
    for b, i in np.ndindex(2, 5):
        x = tokens[b]
        near = np.argsort(((x - x[i]) ** 2).sum(axis=1))[:3]
        edges = [np.concatenate((x[j] - x[i], x[i])) @ kernel for j in near]
        edges = np.stack(edges) / np.sqrt(1.0 + 1e-5)
        edges = np.where(edges > 0, edges, 0.2 * edges).max(axis=0)
        np.testing.assert_allclose(found[b, i], edges, atol=2e-5)


def test_spectral_basis_is_orthogonal_sorted_and_of_fixed_sign():
    points = np.random.default_rng(0).normal(size=(3, 9, 3)).astype("float32")
    laplacian = graph_laplacian(points)
    vectors = ops.convert_to_numpy(eigenvectors(laplacian)).astype("float64")
    laplacian = ops.convert_to_numpy(laplacian)
    gram = np.swapaxes(vectors, 1, 2) @ vectors
    np.testing.assert_allclose(gram, np.eye(9)[None].repeat(3, 0), atol=1e-5)
    values = np.swapaxes(vectors, 1, 2) @ laplacian @ vectors
    values = np.diagonal(values, axis1=1, axis2=2)
    assert np.all(np.diff(values, axis=1) > -1e-5)
    assert np.all((vectors**3).sum(axis=1) >= 0.0)
    # A cloud's graph knows nothing of the rest of its batch.
    alone = ops.convert_to_numpy(graph_laplacian(points[:1]))
    np.testing.assert_array_equal(alone, laplacian[:1])


@pytest.mark.slow
@pytest.mark.skipif(
    keras.config.backend() == "torch", reason="torch has no XLA"
)
def test_point_gst_trains_under_xla(clouds):
    points, labels = clouds
    model = small_classifier(peft.PointGST(rank=4, local=4), depth=1)
    expected = ops.convert_to_numpy(model(points))
    model.compile(jit_compile=True)
    found = model.predict(points, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    history = model.fit(points, labels, batch_size=3, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_points_at_one_place_are_no_problem():
    points = np.zeros((1, 4, 3), "float32")
    assert np.isfinite(ops.convert_to_numpy(graph_laplacian(points))).all()


@pytest.mark.parametrize("wrap", [False, True])
def test_morton_order(wrap):
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.9, 0.9, size=(2, 40, 3)).astype("float32")
    found = ops.convert_to_numpy(morton_order(points, wrap=wrap))
    scaled = points * np.float32(100.0)
    cells = scaled.astype(int) if wrap else np.floor(scaled).astype(int) + 2**15
    for b in range(2):
        keys = []
        for x, y, z in cells[b] & 0xFFFF:
            key = 0
            for bit in range(16):
                for offset, axis in ((2, y), (1, x), (0, z)):
                    key |= int((axis >> bit) & 1) << (3 * bit + offset)
            keys.append(key)
        assert found[b].tolist() == np.argsort(keys, kind="stable").tolist()


@pytest.mark.once
@pytest.mark.parametrize(
    "make",
    [
        lambda: peft.LoRA(rank=0),
        lambda: peft.LoRA(targets=("norm1",)),
        lambda: peft.SSF(sites=("nowhere",)),
        lambda: peft.IDPT(module="other"),
        lambda: peft.IDPT(reads="nothing"),
        lambda: peft.GAPrompt(propagation="other"),
        lambda: peft.PointLoRA(scales=((1, 1, 4),)),
        lambda: small_backbone(peft.IDPT(prompt_block=7)),
        lambda: small_backbone(peft.PointGST(local=3)),
    ],
)
def test_what_makes_no_sense_is_refused(make):
    with pytest.raises(ValueError, match="Received: "):
        make()
