"""PointGST: adapters in the spectral domain of the cloud.

[Liang et al., 2024](https://arxiv.org/abs/2410.08114).
"""

import keras
from keras import ops

from keras_pointpeft.layers.layer_normalization import LayerNormalization
from keras_pointpeft.layers.linear import Linear
from keras_pointpeft.ops import gather
from keras_pointpeft.peft.method import ADDED
from keras_pointpeft.peft.method import CLASS_TOKEN
from keras_pointpeft.peft.method import WITH_CLASS_TOKEN
from keras_pointpeft.peft.method import BlockTuner
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.method import check_frozen_bn
from keras_pointpeft.peft.method import check_positive
from keras_pointpeft.peft.spectral_basis import SpectralBasis
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

    config_names = ("rank", "reference")

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

        hidden = ops.silu(hidden)
        patches = hidden[:, first:] + adapted
        return self.up(ops.concatenate((hidden[:, :first], patches), axis=1))

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

    config_names = ("rank", "reference")

    def __init__(self, rank, reference=False, **kwargs):
        super().__init__(**kwargs)
        self.rank = rank
        self.reference = reference
        self.adapter = SpectralAdapter(
            rank, reference, dtype=self.dtype_policy, name="adapter"
        )

    def build(self, tokens_shape):
        self.adapter.build(tokens_shape)

    def beside_branch(self, tokens, geometry, training):
        return self.adapter(tokens, geometry)


@serializable
class PointGST(PeftMethod):
    """Adapters that work in the spectral domain of the cloud.

    [PointGST](https://arxiv.org/abs/2410.08114) freezes the backbone. Beside
    the MLP of every block, a `SpectralAdapter` works on spectra of the patch
    tokens, over graphs of the patch centres that are made once per cloud. The
    class token trains too.

    Eigenvectors have no sign of their own, and what the adapter makes of them
    depends on it: here it is fixed. The published code takes what its library
    gives; it also measures distances in units of the smallest one in the
    whole batch, so that results depend on the rest of the batch, and confuses
    the transform with its inverse. `reference=True` reproduces the latter
    two, and the published space-filling curve, on which negative coordinates
    come behind the positive ones; not the rounding errors of the published
    distances, which for more than 25 patches are what the smallest of them,
    and so the graph, depends on.

    Args:
        rank: int. Width of the adapters' bottleneck.
        local: int. Patches in a part of the cloud; must divide their number,
            unless that is smaller.
        reference: bool. Whether to compute what the published code computes,
            up to signs of eigenvectors.
        frozen_bn: `"inference"` or `"track"`. What the frozen BatchNorms of
            the patch encoder do in training: keep to their moving statistics,
            or use and follow those of the batch, as the published code does.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        num_groups=128, peft=keras_pointpeft.peft.PointGST(rank=36)
    )
    ```
    """

    config_names = ("rank", "local", "reference", "frozen_bn")
    trained = WITH_CLASS_TOKEN
    components = {"spectral adapters": ADDED, "class token": CLASS_TOKEN}

    def __init__(
        self, rank=36, local=32, reference=False, frozen_bn="inference"
    ):
        self.rank = check_positive("rank", rank)
        self.local = check_positive("local", local)
        self.reference = reference
        self.frozen_bn = check_frozen_bn(frozen_bn)

    def geometry_tuner(
        self,
        dim,
        num_groups,
        group_size,
        skip_origin,
        neighborhoods=(None, None),
        **kwargs,
    ):
        return SpectralBasis(self.local, self.reference, **kwargs)

    def block_tuner(
        self, index, depth, dim, num_class_tokens, mlp_ratio, **kwargs
    ):
        return PointGSTTuner(self.rank, self.reference, **kwargs)
