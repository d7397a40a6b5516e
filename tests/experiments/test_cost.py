import gc
import subprocess
import sys
import weakref

import keras
import numpy as np
import pytest

from keras_pointpeft.experiments import cost
from tests.conftest import small_classifier


def test_functions_take_turns():
    calls = []
    steps = {name: lambda name=name: calls.append(name) for name in "ab"}
    seconds = cost.interleaved_seconds(steps, repeats=3, warmup=2)
    assert calls == ["a", "b"] * 5
    assert [len(seconds[name]) for name in "ab"] == [3, 3]


def test_a_clock_of_ones_own():
    ticks = iter((1.0, 3.0, 10.0, 15.0))
    seconds = cost.interleaved_seconds(
        {"a": lambda: None}, repeats=2, warmup=0, clock=lambda: next(ticks)
    )
    assert seconds == {"a": [2.0, 5.0]}


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="known on torch alone"
)
def test_what_is_kept_for_backward():
    """One product: its input, once, and no weight."""
    points = np.ones((5, 7, 3), "float32")
    layer = keras.layers.Dense(4, use_bias=False)
    model = keras.Sequential([layer, keras.layers.Flatten()])
    model.build((None, 7, 3))
    model.compile(loss="mean_absolute_error")
    labels = np.zeros((5, 28), "float32")
    one = cost.kept_for_backward(model, points, labels)
    many = cost.kept_for_backward(
        model, np.repeat(points, 10, 0), np.repeat(labels, 10, 0)
    )
    assert one >= points.nbytes
    assert many - one >= 9 * points.nbytes
    layer.trainable = False
    assert cost.kept_for_backward(model, points, labels) < one


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="known on torch alone"
)
def test_nothing_outlives_the_measurement():
    import torch

    x = torch.ones(3, requires_grad=True)
    made = []

    def forward():
        kept = torch.exp(x)  # its backward pass needs the output itself
        made.append(weakref.ref(kept))
        return kept.sum()

    assert cost.bytes_kept(forward) == 12
    gc.collect()
    assert made[0]() is None


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="known on torch alone"
)
def test_what_leads_to_no_loss_is_not_kept():
    import torch

    x = torch.ones(3, requires_grad=True)

    def forward():
        torch.exp(x.repeat(100))  # freed at once, with its graph
        return torch.exp(x).sum()

    assert cost.bytes_kept(forward) == 12


@pytest.mark.skipif(keras.config.backend() == "torch", reason="known on torch")
def test_what_is_kept_is_known_on_torch_alone(clouds):
    with pytest.raises(ValueError, match="torch alone"):
        cost.kept_for_backward(small_classifier(), *clouds)


@pytest.mark.once
def test_growth_of_the_process():
    size = 200 * 2**20
    code = (
        "import numpy; from keras_pointpeft.experiments import cost;"
        f"print(cost.peak_growth(lambda: numpy.ones({size}, 'uint8')))"
    )
    # One function per process, as memory is not given back.
    output = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert int(output) == pytest.approx(size, rel=0.1)


def test_growth_on_cuda():
    torch = pytest.importorskip("torch")
    if keras.config.backend() != "torch" or not torch.cuda.is_available():
        pytest.skip("needs torch on CUDA")
    size = 64 * 2**20
    before = torch.cuda.memory_allocated()
    found = cost.peak_growth(
        lambda: torch.ones(size, dtype=torch.uint8, device="cuda").sum().item()
    )
    assert found >= before + size
