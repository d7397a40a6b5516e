"""torch: what a step does that a CUDA graph cannot hold."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# Each gives the host a value, or a tensor whose shape depends on values.
_READS = (
    "_local_scalar_dense",
    "is_nonzero",
    "equal",
    "nonzero",
    "masked_select",
    "unique",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "repeat_interleave",
    "bincount",
)
# Each waits for the device within: decompositions of matrices.
_WAITS = (
    "_linalg_eigh",
    "_linalg_svd",
    "linalg_eig",
    "linalg_eigvals",
    "linalg_lstsq",
)
_COPIES = ("_to_copy", "copy_")
# What `torch.tensor` and `torch.as_tensor` make of the host's numbers.
_MAKES = "lift_fresh"


class Forbidden(TorchDispatchMode):
    """Lists operators of a step that a capture forbids.

    On a CPU too, where whatever reads a value is found, and no copies are.

    Attributes:
        found: dict from a description to how often it was met.
        count: int, all operators that were dispatched but views.
    """

    def __init__(self):
        super().__init__()
        self.found = {}
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        result = function(*args, **(kwargs or {}))
        self.count += not function.is_view
        if name in _READS or (
            name == "index" and _has_mask(args[1] if len(args) > 1 else ())
        ):
            self._add(f"{name}, which gives the host a value")
        elif name in _WAITS:
            self._add(f"{name}, which waits for the device")
        elif name == _MAKES:
            self._add("a number of the host that becomes a tensor")
        elif name in _COPIES and _crosses(name, args, result):
            self._add(f"{name} between host and device")
        return result

    def _add(self, what):
        self.found[what] = self.found.get(what, 0) + 1

    def reason(self):
        """One line, or None if there is nothing."""
        if not self.found:
            return None
        parts = (f"{n} x {what}" for what, n in self.found.items())
        return "the step has " + "; ".join(parts)


def _has_mask(indices):
    kinds = (torch.bool, torch.uint8)
    return any(x is not None and x.dtype in kinds for x in indices)


def _crosses(name, args, result):
    source = args[1] if name == "copy_" else args[0]
    if not isinstance(source, torch.Tensor):
        return False
    if source.device.type == result.device.type:
        return False
    # The value of a number in memory is baked into the kernel's arguments.
    return not (name == "copy_" and source.dim() == 0 and result.is_cuda) or (
        not source.device.type == "cpu"
    )
