"""torch: the operators that a step dispatches, listed and looked through.

A step on small tensors spends more time in layers of Keras and in nodes of
autograd than in arithmetic. Its operators alone, called one after the other,
do the same in the same order. And they tell what a CUDA graph cannot hold.
"""

import operator

import torch
from torch.fx.node import map_aggregate
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

# Another name for the same tensor, once gradients do not matter.
_SAME = ("alias", "detach", "lift_fresh")
_PLAIN = (
    *(type(None), bool, int, float, complex, str),
    *(torch.dtype, torch.device, torch.layout, torch.memory_format),
)


class Recording(TorchDispatchMode):
    """Lists what is dispatched within it.

    Args:
        inputs: list of tensors, in whose place others may come.

    Attributes:
        lasting: list of the tensors that were there before and that it met,
            such as variables.
        reason: string, why the list cannot stand for the function, or None.
    """

    def __init__(self, inputs):
        super().__init__()
        self.lasting = []
        self.reason = None
        self._graph = torch.fx.Graph()
        self._last, self._given = None, 0
        # Weak, so that memory is freed as without a recording.
        self._nodes = WeakTensorKeyDictionary()
        for tensor in inputs:
            self._declare(tensor)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        outputs = function(*args, **kwargs)
        arguments = map_aggregate((args, kwargs), self._argument)
        if function.overloadpacket.__name__ in _SAME:
            self._nodes[outputs] = arguments[0][0]
            return outputs
        node = self._graph.call_function(function, *arguments)
        if isinstance(outputs, torch.Tensor):
            self._nodes[outputs] = node
        elif isinstance(outputs, (list, tuple)):
            for i, output in enumerate(outputs):
                if isinstance(output, torch.Tensor):
                    self._nodes[output] = self._graph.call_function(
                        operator.getitem, (node, i)
                    )
        elif outputs is not None:
            self.reason = f"{function} gives the host a value"
        return outputs

    def _argument(self, value):
        if isinstance(value, torch.Tensor):
            node = self._nodes.get(value)
            if node is None:
                self.lasting.append(value)
                node = self._declare(value)
            return node
        if not isinstance(value, _PLAIN):
            self.reason = f"an operator is given a {type(value).__name__}"
            return None
        return value

    def _declare(self, tensor):
        """An argument of the function; all of them stand at its beginning."""
        with self._graph.inserting_after(self._last):
            self._last = self._graph.placeholder(f"given_{self._given}")
        self._given += 1
        self._nodes[tensor] = self._last
        return self._last

    def function(self, outputs):
        """A function of the inputs and of `lasting`, as lists in a row.

        Args:
            outputs: list of the tensors that it returns.
        """
        self._graph.output(map_aggregate(outputs, self._argument))
        self._graph.eliminate_dead_code(_acts)
        return torch.fx.GraphModule({}, self._graph).forward


def _acts(node):
    """Whether a node does more than give a value.

    A random draw that nobody reads moves on those that follow.
    """
    if node.op != "call_function":
        return True
    schema = getattr(node.target, "_schema", None)
    tags = getattr(node.target, "tags", ())
    random = torch.Tag.nondeterministic_seeded in tags
    return random or (schema is not None and schema.is_mutable)


class Recorded:
    """A function whose operators are listed, to be called again.

    To list them is to call it: the first call gives what that gave.

    Args:
        function: from a list of tensors to a list of tensors.
        inputs: list of tensors that it reads each time.
        lasting: list of tensors, those of `Recording.lasting` when it ran
            before.

    Attributes:
        reason: string, why it can be called no second time, or None.
    """

    valid = True

    def __init__(self, function, inputs, lasting):
        recording = Recording(inputs)
        with recording:
            self._first = function(inputs)
        self._operators = recording.function(self._first)
        self._given = [*inputs, *recording.lasting]
        before = {id(tensor) for tensor in lasting}
        self.reason = recording.reason
        if any(id(tensor) not in before for tensor in recording.lasting):
            self.reason = "each time there are tensors that no operator made"

    def __call__(self):
        if self._first is not None:
            first, self._first = self._first, None
            return first
        with torch.no_grad():
            return self._operators(*self._given)


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
