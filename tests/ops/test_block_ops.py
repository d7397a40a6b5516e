"""The parts of a block: against closed forms, and fast ways against plain."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from keras_pointpeft.layers import LayerNormalization
from keras_pointpeft.ops import disable_accelerators
from keras_pointpeft.ops.arithmetic import add_scaled
from keras_pointpeft.ops.arithmetic import affine
from keras_pointpeft.ops.arithmetic import attention
from keras_pointpeft.ops.arithmetic import batch_norm
from keras_pointpeft.ops.arithmetic import dynamic_adapter
from keras_pointpeft.ops.arithmetic import gelu
from keras_pointpeft.ops.arithmetic import layer_norm
from keras_pointpeft.ops.arithmetic import pooled
from keras_pointpeft.ops.arithmetic import recomputed_gelu
from keras_pointpeft.ops.arithmetic import split_at
from keras_pointpeft.ops.plain import SHUT


def numbers(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape).astype("float32")


X, SCALE, SHIFT = numbers(2, 5, 8), numbers(8, seed=1), numbers(8, seed=2)
QKV = [numbers(2, 5, 3, 4, seed=i) for i in range(3)]


def normalized(x, scale, shift, epsilon):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * scale + shift


def attended(query, key, value, allowed, scale):
    scores = np.einsum("bqhw,bkhw->bhqk", query, key) * scale
    scores = np.where(allowed, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.einsum("bhqk,bkhw->bqhw", weights, value)


def found(function, *arrays, **kwargs):
    result = function(*(ops.convert_to_tensor(a) for a in arrays), **kwargs)
    return ops.convert_to_numpy(result)


def test_layer_norm():
    np.testing.assert_allclose(
        found(layer_norm, X, SCALE, SHIFT, epsilon=0.1),
        normalized(X, SCALE, SHIFT, 0.1),
        atol=1e-5,
    )


@pytest.mark.parametrize("scaled", [False, True])
def test_affine_and_its_gelu(scaled):
    scale = ops.convert_to_tensor(SCALE) if scaled else None
    expected = X * SCALE + SHIFT if scaled else X + SHIFT

    def call(function):
        return found(lambda x, shift: function(x, scale, shift), X, SHIFT)

    np.testing.assert_allclose(call(affine), expected, atol=1e-6)
    erf = np.vectorize(math.erf)(expected / np.sqrt(2))
    expected = expected * (1 + erf) / 2
    np.testing.assert_allclose(call(recomputed_gelu), expected, atol=1e-6)


@pytest.mark.parametrize("case", ["all", "causal", "mask"])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_attention(case, scale):
    allowed, kwargs = np.ones((5, 5), bool), {}
    if case == "causal":
        allowed, kwargs = np.tril(allowed), {"is_causal": True}
    elif case == "mask":
        allowed = numbers(5, 5) < 0.5
        allowed |= np.eye(5, dtype=bool)
        kwargs = {"mask": ops.convert_to_tensor(allowed[None, None])}
    np.testing.assert_allclose(
        found(attention, *QKV, scale=scale, **kwargs),
        attended(*QKV, allowed, scale or 0.5),
        atol=1e-5,
    )


@pytest.mark.parametrize("scaled", [False, True])
def test_a_norm_takes_in_what_follows(scaled):
    norm = LayerNormalization(epsilon=0.1)
    norm.build(X.shape)
    norm.gamma.assign(SCALE + 2)
    norm.beta.assign(SHIFT - 1)
    factor = SCALE if scaled else None
    expected = ops.convert_to_numpy(norm(X)) * (SCALE if scaled else 1) + SHIFT
    pair = (factor, ops.convert_to_tensor(SHIFT))
    if scaled:
        pair = (ops.convert_to_tensor(factor), pair[1])
    result = ops.convert_to_numpy(norm(X, affine=pair))
    np.testing.assert_allclose(result, expected, atol=1e-5)


def adapter(
    x, gamma, beta, scale, bias, down, down_bias, up, up_bias, kept, leak=0.0
):
    gate, rate = None, 0.0
    if kept is not None:
        gate = ops.where(kept, float("inf"), SHUT)
        gate, rate = ops.cast(gate, x.dtype), RATE
    return dynamic_adapter(
        x,
        (gamma, beta, 1e-5),
        (scale, bias),
        (down, down_bias),
        (up, up_bias),
        gate,
        rate,
        leak,
    )


def frozen_norm(x, scale, shift):
    """With what follows it folded in."""
    kind = keras.backend.standardize_dtype(x.dtype)
    policy = kind if kind == "float32" else f"mixed_{kind}"
    norm = LayerNormalization(dtype=policy, trainable=False)
    norm.build(X.shape)
    norm.gamma.assign(numbers(8, seed=3) + 2)
    norm.beta.assign(numbers(8, seed=4))
    return norm(x, affine=(scale, shift))


def dropped_branch(x, scale, shift):
    scale, shift, kept = (
        ops.cast(ops.convert_to_tensor(v), x.dtype)
        for v in (scale, shift, KEPT)
    )
    return add_scaled(x * scale, x + shift, kept)


def normalized_batch(x, scale, shift):
    mean, variance = (ops.convert_to_tensor(v) for v in STATISTICS)
    wide = ops.cast(x, "float32")
    y, *moved = batch_norm(wide, scale, shift, mean, variance, 0.1, 0.9)
    for value in moved:
        y = y + value
    return ops.cast(y, x.dtype)


STATISTICS = numbers(8, seed=5), numbers(8, seed=6) ** 2
ADAPTER = (
    *(X, SCALE, SHIFT, numbers(8, 1, seed=3), numbers(1, seed=4)),
    *(numbers(8, 3, seed=5), numbers(3, seed=6)),
    *(numbers(3, 8, seed=7), numbers(8, seed=8)),
)
KEPT = np.array([0.0, 1.25]).reshape(2, 1, 1)
RATE = 0.6
OPEN = np.random.default_rng(9).random((2, 5, 3)) >= RATE


@pytest.mark.parametrize("dropped", [False, True])
def test_dynamic_adapter(dropped):
    x, gamma, beta, scale, bias, down, down_bias, up, up_bias = ADAPTER
    normed = normalized(x, gamma, beta, 1e-5)
    hidden = normed @ down + down_bias
    erf = np.vectorize(math.erf)(hidden / np.sqrt(2))
    hidden = hidden * (1 + erf) / 2
    if dropped:
        hidden = hidden * OPEN / (1 - RATE)
    factor = np.maximum(normed @ scale + bias, 0)
    assert 0 < np.mean(factor > 0) < 1
    np.testing.assert_allclose(
        found(lambda *x: adapter(*x, OPEN if dropped else None), *ADAPTER),
        (hidden @ up + up_bias) * factor,
        atol=1e-5,
    )


FUNCTIONS = {
    "dynamic_adapter": (
        lambda *inputs: adapter(*inputs, kept=None),
        ADAPTER,
    ),
    "dynamic_adapter_dropping": (
        lambda *inputs: adapter(*inputs, kept=OPEN),
        ADAPTER,
    ),
    "dynamic_adapter_leaking": (
        lambda *inputs: adapter(*inputs, kept=None, leak=0.2),
        ADAPTER,
    ),
    "layer_norm": (
        lambda x, scale, shift: layer_norm(x, scale, shift, 1e-5),
        (X, SCALE, SHIFT),
    ),
    "affine": (affine, (X, SCALE, SHIFT)),
    "affine_of_views": (
        lambda x, scale, shift: affine(x.transpose(0, 1), scale, shift),
        (X, SCALE, SHIFT),
    ),
    "batch_norm": (normalized_batch, (X, SCALE, SHIFT)),
    "batch_norm_of_one": (normalized_batch, (X[:1, :1], SCALE, SHIFT)),
    "pooled": (pooled, (X, SCALE, SHIFT)),
    "add_scaled": (dropped_branch, (X, SCALE, SHIFT)),
    "frozen_norm": (frozen_norm, (X, SCALE, SHIFT)),
    "recomputed_gelu": (recomputed_gelu, (X, SCALE, SHIFT)),
    "attention": (attention, QKV),
}


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="ways of the torch backend"
)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_fast_ways_are_the_plain_ones(name, dtype):
    import torch

    function, arrays = FUNCTIONS[name]

    def run(function):
        # Scales and shifts of norms and tokens stay float32.
        inputs = [torch.tensor(a, dtype=getattr(torch, dtype)) for a in arrays]
        if name != "attention":
            inputs[1:3] = (x.float() for x in inputs[1:3])
        inputs = [x.requires_grad_() for x in inputs]
        result = function(*inputs)
        assert result.dtype == inputs[0].dtype
        (result.float() ** 2).sum().backward()
        return [result, *(x.grad for x in inputs)]

    fast = run(function)
    if name == "recomputed_gelu":

        def function(*inputs):
            return gelu(affine(*inputs))

    with disable_accelerators("all"):
        plain = run(function)
    tolerance = 1e-5 if dtype == "float32" else 5e-2
    for ours, theirs in zip(fast, plain, strict=True):
        scale = theirs.abs().max().item() or 1.0
        torch.testing.assert_close(
            ours / scale, theirs / scale, atol=tolerance, rtol=tolerance
        )


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="counts what torch keeps"
)
def test_a_gelu_keeps_its_input_alone():
    import torch

    x, scale, shift = (torch.tensor(a) for a in (X, SCALE, SHIFT))
    kept = []

    def pack(tensor):
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        recomputed_gelu(x, scale.requires_grad_(), shift)
    large = [t for t in kept if t.ndim > 1]
    assert [t.data_ptr() for t in large] == [x.data_ptr()]


@pytest.mark.skipif(keras.config.backend() != "torch", reason="of torch")
@pytest.mark.parametrize("name", ["affine", "recomputed_gelu", "pooled"])
def test_a_batch_may_be_empty(name):
    import torch

    x = torch.zeros((0, 5, 8), requires_grad=True)
    scale = torch.tensor(SCALE, requires_grad=True)
    FUNCTIONS[name][0](x, scale, torch.tensor(SHIFT)).sum().backward()
    assert x.grad.shape == x.shape and not scale.grad.any()


@pytest.mark.parametrize("places", [(2,), (0, 5), (1, 1, 4)])
def test_sequences_are_split(places):
    parts = split_at(ops.convert_to_tensor(X), *places)
    for part, expected in zip(parts, np.split(X, places, axis=1), strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(part), expected)


@pytest.mark.skipif(keras.config.backend() != "torch", reason="of torch")
def test_gradients_of_a_split_sequence():
    def gradient():
        x = ops.convert_to_tensor(X).requires_grad_()
        first, _, last = split_at(x, 1, 3)
        (first.sum() + (last * last).sum()).backward()
        return x.grad

    with disable_accelerators():
        expected = gradient()
    np.testing.assert_array_equal(gradient(), expected)
    assert not expected[:, 1:3].any()


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="its gradient is torch's here"
)
@pytest.mark.parametrize("kind", ["tensor", "parameter"])
def test_a_token_alone_is_scaled_and_shifted(kind):
    """As BitFit does with a frozen class token, which is a parameter."""
    import torch

    token = torch.arange(1.0, 5.0)
    if kind == "parameter":
        token = torch.nn.Parameter(token, requires_grad=False)
    scale = torch.full((4,), 2.0, requires_grad=True)
    shift = torch.zeros(4, requires_grad=True)
    weights = torch.tensor([1.0, 10.0, 100.0, 1000.0])
    total = (affine(token, scale, shift) * weights).sum()
    to_scale, to_shift = torch.autograd.grad(total, (scale, shift))
    assert to_scale.tolist() == [1.0, 20.0, 300.0, 4000.0]
    assert to_shift.tolist() == weights.tolist()
