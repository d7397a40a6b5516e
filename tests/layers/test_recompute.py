"""What is computed again gives the gradients of what is kept."""

import functools

import keras
import numpy as np
import pytest

from keras_pointpeft.layers.recompute import MODES
from keras_pointpeft.layers.recompute import recomputed_layer
from keras_pointpeft.models import PointCloudClassifier
from keras_pointpeft.models import PointMAEBackbone
from keras_pointpeft.ops.arithmetic import recomputed
from keras_pointpeft.peft import DAPT
from keras_pointpeft.peft import Full
from tests.conftest import small_backbone

pytestmark = pytest.mark.long


def trained(method, mode, clouds):
    """Weights and losses of a few steps, with everything drawn at random."""
    keras.utils.set_random_seed(0)
    backbone = small_backbone(method(), drop_path_rate=0.3)
    backbone.remat = mode
    model = PointCloudClassifier(backbone, 3, head_dims=(16,))
    model.compile(
        optimizer=keras.optimizers.SGD(0.1),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        # Operation by operation, jax would compile each of them.
        jit_compile=keras.config.backend() == "jax",
    )
    losses = [model.train_on_batch(*clouds)[0] for _ in range(3)]
    return losses, [v.numpy() for v in model.trainable_variables]


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(lambda: DAPT(rank=4, dropout=0.3), id="dapt"),
        pytest.param(Full, id="full", marks=pytest.mark.once),
    ],
)
def test_training_is_the_same(method, clouds):
    # Elsewhere a mode compiles for a quarter of a minute: one, and the other.
    every = keras.config.backend() == "torch"
    first, *others = MODES if every else MODES[1:]
    losses, weights = trained(method, first, clouds)
    # What follows takes one that is not a number for another one.
    assert all(np.isfinite(x).all() for x in (losses, *weights))
    for mode in others:
        found, ours = trained(method, mode, clouds)
        np.testing.assert_allclose(losses, found, atol=1e-5)
        for a, b in zip(weights, ours, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="counts what torch keeps"
)
def test_less_is_kept(clouds):
    import torch

    def kept(mode):
        backbone = PointMAEBackbone(
            num_groups=8, group_size=8, dim=48, depth=3, num_heads=3,
            encoder_dims=(8, 12, 16), peft=DAPT(rank=4),
        )  # fmt: skip
        backbone.remat = mode
        weights = {
            v.value.untyped_storage().data_ptr() for v in backbone.variables
        }
        sizes = {}

        def pack(tensor):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                sizes[storage.data_ptr()] = storage.nbytes()
            held.append(tensor)
            return tensor

        held = []
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            backbone(clouds[0], training=True)
        return sum(sizes.values())

    everything, elementwise, block = map(kept, MODES)
    assert elementwise < 0.6 * everything
    assert block < 0.2 * everything


def test_unknown_mode():
    with pytest.raises(ValueError, match="Received: remat='all'"):
        small_backbone().remat = "all"


def test_what_is_drawn_by_seed_is_drawn_again():
    """Not by the device's generator, but by states that the draw moves on."""
    dropout = keras.layers.Dropout(0.5, seed=1)
    layer = keras.Sequential([keras.layers.Dense(5), dropout])
    layer.build((None, 4))
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    start = [v.numpy().copy() for v in layer.variables]

    def trained(wrap):
        for variable, value in zip(layer.variables, start, strict=True):
            variable.assign(value)

        class Once(keras.Model):
            def __init__(self):
                super().__init__()
                self.layer = layer

            def call(self, x, training=False):
                run = functools.partial(layer, training=training)
                return wrap(lambda x: run(x) ** 2)(x)

        model = Once()
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
        model.train_on_batch(x, np.zeros((3, 5)))
        return [v.numpy().copy() for v in layer.variables]

    expected = trained(lambda function: function)
    found = trained(lambda function: recomputed_layer(layer, function))
    for a, b, before in zip(found, expected, start, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
        assert np.any(a != before)


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="torch's own recomputation"
)
def test_torch_computes_again_what_is_asked_for():
    import torch

    weight = torch.tensor([2.0, 3.0], requires_grad=True)
    x = torch.tensor([0.5, -1.0], requires_grad=True)
    runs = []

    def function(x):
        runs.append(1)
        return torch.exp(x * weight).sin()

    expected = torch.autograd.grad(function(x).sum(), (x, weight))
    runs.clear()
    # What is around it sees the inputs go by, and nothing else.
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor
    ):
        y = recomputed(function)(x)
    assert len(kept) == 1 and kept[0] is x
    loss = y.sum()
    for count in (2, 3):  # the graph serves twice
        found = torch.autograd.grad(loss, (x, weight), retain_graph=True)
        assert len(runs) == count
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b)
    with torch.no_grad():
        assert not recomputed(function)(x).requires_grad


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="torch's own casting"
)
@pytest.mark.parametrize("wrap_backward", [False, True])
def test_torch_casts_again_as_it_did(wrap_backward):
    import torch

    weight = torch.linspace(-1, 1, 12).reshape(4, 3).requires_grad_()
    x = torch.linspace(0, 1, 8).reshape(2, 4).requires_grad_()

    def gradients(function):
        cast = torch.autocast("cpu", torch.bfloat16)
        with cast if not wrap_backward else torch.enable_grad():
            loss = function(x).float().sum()
        with cast if wrap_backward else torch.enable_grad():
            return torch.autograd.grad(loss, (x, weight))

    def function(x):
        return torch.sin(x @ weight) ** 2

    found = gradients(recomputed(function))
    for a, b in zip(found, gradients(function), strict=True):
        torch.testing.assert_close(a, b, atol=0, rtol=0)
