"""What PointGST does in one transformer block."""

import keras
from keras import ops

from keras_pointpeft.layers.basic import LayerNormalization
from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.layers.tuner import BlockTuner
from keras_pointpeft.ops import gather
from keras_pointpeft.ops.arithmetic import split_at
from keras_pointpeft.peft.point_gst.spectral_basis import SpectralBasis
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class SpectralAdapter(Configurable, keras.layers.Layer):
    """A bottleneck adapter that also works on spectra of the patch tokens.

    The narrow features of the patches are transformed into the spectrum of
    the graph of all patches, and into those of parts of it, adapted there by
    one linear layer, and transformed back. The adapter starts at zero.

    Args:
        rank: int. Width of the bottleneck.
        reference: bool. Whether the transform and its inverse are exchanged,
            as in the published code.

    Input shape:
        tokens `(batch, tokens, dim)`, the patches last; geometry, see
        `SpectralBasis`.

    Output shape:
        `(batch, tokens, dim)`.
    """

    def __init__(self, rank=36, reference=False, **kwargs):
        super().__init__(**kwargs)
        self.rank = rank
        self.reference = reference
        policy = self.dtype_policy

        def norm(name):
            return LayerNormalization(dtype=policy, name=name)

        self.down = Linear(
            rank,
            keras.initializers.GlorotUniform(),
            dtype=policy,
            name="down",
        )
        self.norm = norm("norm")
        self.local_norm = norm("local_norm")
        self.spectral = Linear(
            rank, "zeros", "zeros", dtype=policy, name="spectral"
        )

    def build(self, tokens_shape, geometry_shape=None):
        dim = tokens_shape[-1]
        self.up = Linear(
            dim, "zeros", "zeros", dtype=self.dtype_policy, name="up"
        )
        self.down.build((None, None, dim))
        for layer in (self.norm, self.local_norm, self.spectral, self.up):
            layer.build((None, None, self.rank))

    def call(self, tokens, geometry):
        groups = geometry["order"].shape[1]
        hidden = self.down(tokens)
        first = hidden.shape[1] - groups
        narrow = hidden[:, first:]
        basis = ops.cast(geometry["basis"], hidden.dtype)
        adapted = self._adapt(narrow, basis, self.norm)

        local = ops.cast(geometry["local_basis"], hidden.dtype)
        size = local.shape[-1]
        parts = gather(narrow, geometry["order"])
        parts = ops.reshape(parts, (-1, groups // size, size, self.rank))
        parts = self._adapt(parts, local, self.local_norm)
        parts = ops.reshape(parts, (-1, groups, self.rank))
        adapted = adapted + gather(parts, geometry["rank"])

        front, patches = split_at(ops.silu(hidden), first)
        joined = ops.concatenate((front, patches + adapted), axis=1)
        return self.up(joined)

    def _adapt(self, x, basis, norm):
        turned = ops.swapaxes(basis, -1, -2)
        forward, back = (basis, turned) if self.reference else (turned, basis)
        spectrum = ops.matmul(forward, x)
        spectrum = spectrum + ops.silu(self.spectral(norm(spectrum)))
        return ops.matmul(back, spectrum)

    def compute_output_shape(self, tokens_shape, geometry_shape=None):
        return tokens_shape


@serializable
class PointGSTTuner(Configurable, BlockTuner):
    """A `SpectralAdapter` beside the MLP of one block."""

    needs = SpectralBasis.gives

    def __init__(self, rank, reference=False, **kwargs):
        super().__init__(**kwargs)
        self.rank = rank
        self.reference = reference
        self.adapter = SpectralAdapter(
            rank, reference, dtype=self.dtype_policy, name="adapter"
        )

    def build(self, tokens_shape):
        self.adapter.build(tokens_shape)

    def beside(self, place, x, geometry, training):
        if place != "branch":
            return None
        return self.passes("adapter", self.adapter(x, geometry))
