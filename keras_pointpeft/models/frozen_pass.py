"""A backbone as it was before a method joined it."""

import keras
from keras import ops


class FrozenTrunk:
    """The layers of a backbone that a method leaves alone, and their use.

    No class token, no prompt, no tuner; dropout and batch statistics are off.
    It holds layers that belong to a model without being part of that model.
    """

    def __init__(self):
        self.encoder = []
        self.position = None
        self.blocks = []
        self.norm = None

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
