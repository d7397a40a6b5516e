"""A backbone as it was before a method joined it."""

import re

import keras
from keras import ops

from keras_pointpeft.ops import gather
from keras_pointpeft.peft.fingerprint import NOT_OF_THE_BASE


class FrozenTrunk:
    """The layers of a backbone that a method leaves alone, and their use.

    No class token, no prompt, no tuner; dropout and batch statistics are off.
    It holds layers that belong to a model without being part of that model.
    """

    def __init__(self):
        # A layer that puts patches into a row, where their order matters.
        self.order = None
        self.encoder = []
        self.position = None
        self.blocks = []
        self.norm = None

    @property
    def variables(self):
        """What `encode` and `feature` read: nothing of a method."""
        return _of_base([*self.encoder, self.position, *self.blocks, self.norm])

    def arranged(self, patches):
        """A dict of patches, as `PointPatches` returns it, in their order."""
        return patches if self.order is None else self.order(patches)

    def encode(self, neighborhoods, centers):
        """Patch tokens and their positions, `(batch, groups, dim)` each."""
        first, *others = self.encoder
        tokens = first(neighborhoods, training=False)
        for layer in others:
            tokens = layer(tokens)
        return tokens, self.position(centers)

    def feature(self, tokens, positions):
        """The maximum over the final tokens, `(batch, dim)`."""
        for block in self.blocks:
            tokens = block.untuned(tokens + positions)
        return ops.max(self.norm(tokens), axis=1)


class HierarchicalTrunk:
    """The same for a backbone of several stages.

    Attributes:
        stages: list of dicts of a stage's `"encoder"`, `"position"`,
            `"near"` and `"blocks"`.
        norm: the final norm.
    """

    def __init__(self):
        self.stages = []
        self.norm = None

    @property
    def variables(self):
        """What `feature` reads: nothing of a method."""
        layers = [self.norm]
        for stage in self.stages:
            layers += [stage["encoder"], stage["position"], *stage["blocks"]]
        return _of_base(layers)

    def feature(self, first, centers, neighbors, encoded=False):
        """The mean plus the maximum over the final tokens, `(batch, dim)`.

        Args:
            first: the first stage's neighbourhoods or, if `encoded`, its
                tokens.
            centers: list of `(batch, groups, 3)`, stage by stage.
            neighbors: list of `(batch, groups, size)`, of all stages but the
                first.
            encoded: bool.
        """
        tokens = first
        for i, stage in enumerate(self.stages):
            if i > 0:
                tokens = gather(tokens, neighbors[i - 1])
            if i > 0 or not encoded:
                tokens = stage["encoder"](tokens, training=False)
            positions = stage["position"](centers[i])
            mask = stage["near"](centers[i])
            for block in stage["blocks"]:
                tokens = block.untuned(tokens + positions, mask)
        tokens = self.norm(tokens)
        return ops.mean(tokens, axis=1) + ops.max(tokens, axis=1)


class HierarchicalPass(keras.layers.Layer):
    """A `HierarchicalTrunk` as a node of a graph, without gradient.

    Args:
        trunk: a `HierarchicalTrunk`. It may be completed later.
        dim: int. Width of its final tokens.
        encoded: bool. Whether the first input is the first stage's tokens,
            and not its neighbourhoods.

    Output shape:
        `(batch, dim)`.
    """

    def __init__(self, trunk, dim, encoded=False, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.trunk = trunk
        self.dim = dim
        self.encoded = encoded

    @property
    def reads(self):
        """The variables that what it returns depends on."""
        return self.trunk.variables

    def build(self, *shapes):
        self.built = True

    def call(self, first, centers, neighbors):
        feature = self.trunk.feature(first, centers, neighbors, self.encoded)
        return ops.stop_gradient(ops.cast(feature, "float32"))

    def compute_output_spec(self, first, centers, neighbors):
        return keras.KerasTensor((first.shape[0], self.dim), "float32")


class FrozenPass(keras.layers.Layer):
    """A `FrozenTrunk` as a node of a functional graph, without gradient.

    Args:
        trunk: a `FrozenTrunk`. It may be completed later.
        dim: int. Width of its tokens.
        num_groups: optional int. If given, the inputs are tokens and
            positions, of which so many are used from the front; else
            neighbourhoods and centres of patches.

    Output shape:
        `(batch, dim)`.
    """

    def __init__(self, trunk, dim, num_groups=None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.trunk = trunk
        self.dim = dim
        self.num_groups = num_groups

    @property
    def reads(self):
        """The variables that what it returns depends on."""
        return self.trunk.variables

    def build(self, *shapes):
        self.built = True

    def call(self, first, second):
        if self.num_groups is None:
            first, second = self.trunk.encode(first, second)
        count = self.num_groups
        feature = self.trunk.feature(first[:, :count], second[:, :count])
        return ops.stop_gradient(feature)

    def compute_output_shape(self, first_shape, second_shape):
        return (first_shape[0], self.dim)


def _of_base(layers):
    # Nothing is random here, and no tuner takes part.
    variables = [v for layer in layers for v in layer.variables]
    return [v for v in variables if not re.search(NOT_OF_THE_BASE, v.path)]
