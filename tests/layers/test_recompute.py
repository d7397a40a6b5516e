"""What is computed again gives the gradients of what is kept."""

import keras
import numpy as np
import pytest

from keras_pointpeft.layers.recompute import MODES
from keras_pointpeft.models import PointCloudClassifier
from keras_pointpeft.models import PointMAEBackbone
from keras_pointpeft.peft import DAPT
from keras_pointpeft.peft import Full
from tests.conftest import small_backbone


def trained(method, mode, clouds):
    """Weights and losses of a few steps, with everything drawn at random."""
    keras.utils.set_random_seed(0)
    backbone = small_backbone(method(), drop_path_rate=0.3)
    backbone.remat = mode
    model = PointCloudClassifier(backbone, 3, head_dims=(16,))
    model.compile(
        optimizer=keras.optimizers.SGD(0.1),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    losses = [model.train_on_batch(*clouds)[0] for _ in range(3)]
    return losses, [v.numpy() for v in model.trainable_variables]


@pytest.mark.parametrize(
    "method", [lambda: DAPT(rank=4, dropout=0.3), Full], ids=["dapt", "full"]
)
def test_training_is_the_same(method, clouds):
    losses, weights = trained(method, "none", clouds)
    for mode in MODES[1:]:
        others, ours = trained(method, mode, clouds)
        np.testing.assert_allclose(losses, others, atol=1e-5)
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
