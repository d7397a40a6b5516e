"""A forward pass on CUDA needs nothing that is elsewhere.

PyTorch plays it with tensors that have a device and a shape and no values: one
of the CPU that meets one of CUDA is an error, and so is a value that is read.
"""

import contextlib

import keras
import pytest

if keras.config.backend() != "torch":
    pytest.skip("CUDA is of torch", allow_module_level=True)

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode

from tests.step.cases import cases
from tests.step.cases import cases_by_time

pytestmark = pytest.mark.once


class Unguarded(TorchFunctionMode):
    """Says in other words what a build without CUDA has no guard for."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.Tensor.__getitem__:
            return _item(*args)
        if function is torch.Tensor.__setitem__:
            x, index, values = args
            return torch.ops.aten.add(_item(x, index), values)
        if function is torch.Tensor.contiguous:
            return torch.clone(args[0], memory_format=torch.contiguous_format)
        return function(*args, **(kwargs or {}))


def _item(x, index):
    index = index if isinstance(index, tuple) else (index,)
    named = [i for i in index if i is not None and i is not Ellipsis]
    dim, tensors = 0, [None] * (x.ndim + len(index))
    for i in index:
        if i is Ellipsis:
            dim = x.ndim - len(named)
        elif i is None:
            x, dim = x.unsqueeze(dim), dim + 1
        elif isinstance(i, slice):
            x = torch.ops.aten.slice(x, dim, i.start, i.stop, i.step or 1)
            dim += 1
        elif isinstance(i, torch.Tensor):
            tensors[dim], dim = i, dim + 1
        else:
            x = x.select(dim, i)
        if not (i is None or i is Ellipsis):
            named.pop(0)
    if any(i is not None for i in tensors):
        return torch.ops.aten.index(x, tensors[: x.ndim])
    return x


@contextlib.contextmanager
def fake_cuda(model):
    """Within it, the model's variables are on a card that there is not."""
    mode = FakeTensorMode()

    with mode, Unguarded(), keras.device("gpu:0"):
        values = [(v, _on_cuda(v)) for v in model.variables]
        with keras.StatelessScope(state_mapping=values):
            yield


@pytest.mark.parametrize("name", cases_by_time())
def test_a_forward_pass_stays_on_its_device(name):
    model, inputs, _ = cases()[name]()
    # Sees to what is looked at once, such as whether a bank is filled.
    model(inputs)
    with fake_cuda(model), torch.no_grad():
        given = keras.tree.map_structure(_on_cuda, inputs)
        for training in (False, True):
            for tensor in keras.tree.flatten(model(given, training=training)):
                assert tensor.is_cuda


def test_a_constant_elsewhere_is_found():
    model = keras.Sequential([keras.layers.Dense(2)])
    model.build((4, 3))
    model.layers[0].activation = lambda x: x + torch.ones(2)
    with fake_cuda(model):
        with pytest.raises(RuntimeError, match="same device"):
            model(torch.empty((4, 3), device="cuda"))


def _on_cuda(array):
    kind = getattr(torch, str(array.dtype))
    return torch.empty(array.shape, dtype=kind, device="cuda")
