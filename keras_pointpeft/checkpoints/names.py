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
# A place in a row of a table: `{i}` stands for a number, a whole word such as
# `{model}` for any name.
PLACE = re.compile(r"\{([a-z]\w*)\}")


class NameMap:
    """Translates variable paths into the names of a published state dict.

    A table: on the left a layer's or a variable's whole path, on the right
    what published code calls it. `{i}` on both sides is the same number. The
    left side may also be a regular expression, whose groups the right side
    names as `\\1`.

    Args:
        modules: dict from a layer's path to their module's name. The leaf
            (`kernel`, `gamma` ...) follows `LEAVES`.
        parameters: dict from a variable's path to their parameter's whole
            name.
        prefix: put before every one of their names.

    Example:
    ```python
    names = NameMap({"block_{i}/fc1": "blocks.{i}.mlp.fc1"}, {})
    names("block_3/fc1/kernel")  # "blocks.3.mlp.fc1.weight"
    ```
    """

    def __init__(self, modules, parameters=None, prefix=""):
        self.modules = modules
        self.parameters = parameters or {}
        self.prefix = prefix
        self._modules = [row(*pair) for pair in self.modules.items()]
        self._parameters = [row(*pair) for pair in self.parameters.items()]

    def __call__(self, path):
        """Their name for the variable at `path`, or None."""
        name = translate(self._parameters, path)
        if name is None:
            module, _, leaf = path.rpartition("/")
            name = translate(self._modules, module)
            if name is None or leaf not in LEAVES:
                return None
            name = f"{name}.{LEAVES[leaf]}"
        return self.prefix + name

    def __or__(self, other):
        """Both maps' rows; those of `other` win."""
        return NameMap(
            {**self.modules, **other.modules},
            {**self.parameters, **other.parameters},
            other.prefix or self.prefix,
        )

    def prefixed(self, prefix):
        """The same table with `prefix` before all of their names."""
        modules = {k: prefix + v for k, v in self.modules.items()}
        parameters = {k: prefix + v for k, v in self.parameters.items()}
        return NameMap(modules, parameters, self.prefix)


def row(ours, theirs):
    """A row of a table as a compiled expression and what it expands to."""
    if not PLACE.search(ours):
        return re.compile(ours), theirs
    # Literal text and names of places take turns.
    parts = PLACE.split(ours)
    expression = ""
    for text, place in zip(parts[::2], [*parts[1::2], None]):
        expression += re.escape(text)
        if place is not None:
            kind = r"\d+" if len(place) == 1 else r"[^/.]+"
            expression += f"(?P<{place}>{kind})"
    return re.compile(expression), PLACE.sub(r"\\g<\1>", theirs)


def translate(rows, name):
    """What the first row that fits makes of `name`, or None."""
    for expression, expansion in rows:
        match = expression.fullmatch(name)
        if match:
            return match.expand(expansion)
    return None


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
