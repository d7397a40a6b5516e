import keras
import numpy as np
import pytest
from keras import ops

from keras_pointpeft.ops.arithmetic import linear


def numbers(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape) / 8


@pytest.mark.parametrize("rows", [(2, 3), (40, 60)])
@pytest.mark.parametrize("use_bias", [False, True])
def test_linear_is_the_product(rows, use_bias):
    x, kernel = numbers(*rows, 24), numbers(24, 32)
    bias = numbers(32) if use_bias else None
    expected = x @ kernel + (0 if bias is None else bias)
    found = linear(
        *(
            None if a is None else ops.convert_to_tensor(a, "float32")
            for a in (x, kernel, bias)
        )
    )
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, atol=1e-5)


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="of the torch backend"
)
@pytest.mark.parametrize("trained", [(0, 1, 2), (0,), (0, 2), (1,)])
def test_gradients_through_one_dnn(trained):
    import torch

    from keras_pointpeft.ops.accelerators import torch_backend

    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this build of torch has no oneDNN")
    found = []
    for product in (torch_backend._Product.apply, _plain):
        inputs = [
            torch.tensor(numbers(*shape), dtype=torch.float32)
            for shape in ((50, 24), (24, 32), (32,))
        ]
        for i in trained:
            inputs[i].requires_grad_()
        result = product(*inputs)
        (result**2).sum().backward()
        assert [i.grad is not None for i in inputs] == [
            i in trained for i in range(3)
        ]
        found.append([result] + [inputs[i].grad for i in trained])
    for ours, theirs in zip(*found):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)


def _plain(x, kernel, bias):
    return x @ kernel + bias


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="The choice is torch's."
)
def test_choosing_a_product_draws_no_random_numbers():
    """Or the first model of a process would train unlike the second."""
    import torch

    from keras_pointpeft.ops.accelerators import torch_backend

    torch_backend.is_faster.cache_clear()
    before = torch.get_rng_state()
    torch_backend.is_faster()
    assert torch.equal(torch.get_rng_state(), before)
