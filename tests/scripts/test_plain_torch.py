"""The module that benchmarks compare with computes what our models do."""

import numpy as np
import pytest
from keras import ops

from keras_pointpeft.checkpoints.writer import published_state
from keras_pointpeft.models import PointCloudClassifier
from keras_pointpeft.models import PointMAEBackbone
from keras_pointpeft.peft import DAPT
from keras_pointpeft.peft import Full
from tests.conftest import load_file

pytestmark = pytest.mark.once

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def plain_torch():
    return load_file("scripts/benchmark/plain_torch.py")


@pytest.mark.parametrize("method", [DAPT(rank=4), Full()])
def test_logits_and_trained_parameters(plain_torch, method):
    size = dict(num_groups=8, group_size=8, dim=24, depth=2)
    model = PointCloudClassifier(
        PointMAEBackbone(**size, num_heads=3, peft=method), 5
    )
    for variable in model.weights:
        if variable.path.endswith("up/kernel"):
            variable.assign(np.full(variable.shape, 0.1))
    rank = getattr(method, "rank", None)
    plain = plain_torch.PointMAE(5, rank, **size, heads=3)
    state = published_state(model)
    plain.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
    plain.eval()

    points = np.random.default_rng(0).normal(size=(2, 64, 3)).astype("float32")
    expected = plain(torch.tensor(points)).detach().numpy()
    logits = ops.convert_to_numpy(model(points))
    np.testing.assert_allclose(logits, expected, atol=2e-6)
    trained = sum(p.numel() for p in plain.parameters() if p.requires_grad)
    assert trained == sum(
        int(np.prod(v.shape)) for v in model.trainable_variables
    )
