"""What MoST does in one transformer block."""

from keras import ops

from keras_pointpeft.layers.basic import part_call
from keras_pointpeft.layers.tuner import BlockTuner
from keras_pointpeft.ops.arithmetic import split_at
from keras_pointpeft.peft.most.monarch import MonarchLinear
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable

# Added to the mean square of a difference to the neighbours.
EPSILON = 1e-6


@serializable
class MoSTTuner(Configurable, BlockTuner):
    """A Monarch matrix between two rectifications, beside the attention.

    The branch reads the tokens that the attention reads, and what that has
    made of them. A rectification adds to each patch token what it differs by
    from the mean of its neighbours, normalized and times a gain that starts
    at zero, and, before the matrix, what the attention has found for it and,
    on average, for all patches. Tokens that are no patches pass.

    Args:
        num_blocks: int. Blocks of the Monarch matrix's factors.
        graph: string. Under which name the geometry has the graph of the last
            tokens.
        reference: bool. See `keras_pointpeft.peft.MoST`.
        neutral_start: bool. Whether nothing of the attention is added behind
            the matrix, likewise.
    """

    def __init__(
        self,
        num_blocks,
        graph="graph",
        reference=False,
        neutral_start=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.neutral_start = neutral_start
        self.num_blocks = num_blocks
        self.graph = graph
        self.reference = reference
        self.needs = (graph,)

    def build(self, tokens_shape):
        dim = tokens_shape[-1]
        self.gain_in = self.add_weight((dim,), "zeros", name="gain_in")
        self.gain_out = self.add_weight((dim,), "zeros", name="gain_out")
        self.monarch = MonarchLinear(
            dim,
            self.num_blocks,
            self.reference,
            dtype=self.dtype_policy,
            name="monarch",
        )
        self.monarch.build(tokens_shape)

    def beside(self, place, x, geometry, training):
        if place != "attended":
            return None
        tokens, attended = x
        graph = ops.cast(geometry[self.graph], tokens.dtype)
        first = tokens.shape[1] - graph.shape[1]
        found = attended[:, first:]
        each = found
        if self.reference:
            each = ops.mean(found, axis=0, keepdims=True)
        bias = each + ops.mean(found, axis=1, keepdims=True)

        def rectified(x, gain, bias):
            front, patches = split_at(x, first)
            patches = patches + self._local(patches, graph, gain)
            if bias is not None:
                patches = patches + bias
            if not first:
                return patches
            return ops.concatenate((front, patches), axis=1)

        x = part_call(self.monarch, rectified(tokens, self.gain_in, bias))
        after = None if self.neutral_start else bias
        return rectified(x, self.gain_out, after)

    def _local(self, patches, graph, gain):
        """The normalized difference to the neighbours, times a gain."""
        # Of equal tokens the difference is exactly 0, whatever the rounding
        # of the graph's rows, and so is the gradient of the gain.
        apart = ops.matmul(graph, patches - patches[:, :1])
        apart = ops.cast(apart, "float32")
        square = ops.mean(apart * apart, axis=-1, keepdims=True)
        apart = apart * ops.rsqrt(square + EPSILON)
        gain = ops.cast(gain, patches.dtype)
        return ops.cast(apart, patches.dtype) * gain
