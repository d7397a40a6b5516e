"""Maps our variables to the names and layouts of published state dicts."""

import re

import numpy as np

# Our leaf name -> theirs. `kernel` is transposed on top of it.
LEAVES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


class NameMap:
    """Translates variable paths into the names of a published state dict.

    Args:
        modules: dict from a regular expression, which must match a layer's
            whole path, to their module's name; groups of the expression may
            be used. The leaf (`kernel`, `gamma` ...) follows `LEAVES`.
        parameters: dict from a regular expression, which must match a
            variable's whole path, to their parameter's whole name.
        prefix: put before every one of their names.

    Example:
    ```python
    names = NameMap({r"block_(\\d+)/fc1": r"blocks.\\1.mlp.fc1"}, {})
    names("block_3/fc1/kernel")  # "blocks.3.mlp.fc1.weight"
    ```
    """

    def __init__(self, modules, parameters, prefix=""):
        self.modules = modules
        self.parameters = parameters
        self.prefix = prefix

    def __call__(self, path):
        """Their name for the variable at `path`, or None."""
        for pattern, name in self.parameters.items():
            match = re.fullmatch(pattern, path)
            if match:
                return self.prefix + match.expand(name)
        module, _, leaf = path.rpartition("/")
        for pattern, name in self.modules.items():
            match = re.fullmatch(pattern, module)
            if match and leaf in LEAVES:
                return f"{self.prefix}{match.expand(name)}.{LEAVES[leaf]}"
        return None

    def __or__(self, other):
        """Both maps' rules; those of `other` win."""
        return NameMap(
            {**self.modules, **other.modules},
            {**self.parameters, **other.parameters},
            other.prefix or self.prefix,
        )


def from_reference(path, value):
    """Turns their array into our layout."""
    if path.endswith("/kernel"):
        # Linear [out, in] or point-wise convolution [out, in, 1].
        value = value.reshape(value.shape[:2]).T
    return value


def to_reference(path, value, shape):
    """Turns our array into their layout of the given shape."""
    if path.endswith("/kernel"):
        value = value.T
    return np.ascontiguousarray(value).reshape(shape)
