"""torch: numbers of the host as tensors that stay on the device.

Keras makes tensors of Python's numbers and of arrays wherever it meets some,
several times in a step. On a GPU each is a copy that the host waits for, and
that a graph cannot hold.
"""

from contextlib import contextmanager

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

_MAKERS = {torch.as_tensor, torch.tensor, torch.asarray}
_NUMBERS = (bool, int, float, complex)
# Those of the steps that run now, innermost last.
_ACTIVE = []


class NewConstant(RuntimeError):
    """An array was met first while a graph was captured."""


class Constants(TorchFunctionMode):
    """Within it, the same number or array is the same tensor each time.

    Nothing may write into such a tensor; Keras does not, as it could be the
    memory of the array.

    Args:
        fixed: bool. Whether nothing may be copied to the device any more.

    Attributes:
        made: dict of the tensors, which another instance may go on with.
        copies: int, how many of them were copied from the host.
    """

    def __init__(self, made=None, fixed=False):
        super().__init__()
        self.made = {} if made is None else made
        self.fixed = fixed
        self.copies = 0

    def __enter__(self):
        _ACTIVE.append(self)
        return super().__enter__()

    def __exit__(self, *error):
        _ACTIVE.pop()
        return super().__exit__(*error)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in _MAKERS and args and not _is_tensor(args[0]):
            return self._constant(function, args, kwargs)
        return function(*args, **kwargs)

    def _constant(self, function, args, kwargs):
        value, dtype = args[0], kwargs.get("dtype")
        device = torch.device(kwargs.get("device") or "cpu")
        if isinstance(value, _NUMBERS):
            key = (type(value), repr(value), dtype, device)
        else:
            array = np.asarray(value)
            if array.dtype == object:
                return function(*args, **kwargs)
            content = (array.dtype.str, array.shape, array.tobytes())
            key = (type(value), content, dtype, device)
        found = self.made.get(key)
        if found is not None:
            return found
        if self.fixed:
            if not isinstance(value, _NUMBERS):
                raise NewConstant(
                    "An array that no step before had becomes a tensor. "
                    f"Received: an array of shape {array.shape}"
                )
            # One kernel, without a copy. It is memory of the graph, and so
            # nothing to keep.
            dtype = dtype or torch.tensor(value).dtype
            return torch.full((), value, dtype=dtype, device=device)
        made = function(*args, **kwargs)
        if not isinstance(value, _NUMBERS) and made.device.type == "cpu":
            made = made.clone()  # not the memory of an array that may change
        self.copies += made.device.type != "cpu"
        self.made[key] = made
        return made



@contextmanager
def again():
    """The innermost `Constants`, where PyTorch has left it.

    A function that is handed to such a mode runs outside of it, and
    `torch.autograd.grad` is one: what a backward pass computes again would
    make its constants anew.
    """
    if not _ACTIVE:
        yield
        return
    with Constants(_ACTIVE[-1].made, _ACTIVE[-1].fixed):
        yield


def _is_tensor(value):
    return isinstance(value, torch.Tensor) or (
        isinstance(value, (list, tuple))
        and any(isinstance(x, torch.Tensor) for x in value)
    )
