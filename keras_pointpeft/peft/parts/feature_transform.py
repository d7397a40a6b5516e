"""Scale and shift per channel, after the layers of a backbone."""

import keras

from keras_pointpeft.layers.tuner import BLOCK_SITES
from keras_pointpeft.layers.tuner import BlockTuner
from keras_pointpeft.layers.tuner import site_widths
from keras_pointpeft.ops.arithmetic import affine
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable

# "patches" is after the patch encoder, "final" after the final norm.
SITES = ("patches", *BLOCK_SITES, "final")


@serializable
class FeatureTransform(Configurable, keras.layers.Layer):
    """Task-specific feature transform (TFTS): `x * gamma + beta` per channel.

    Section 3.3 of the paper; `gamma` starts at N(1, 0.02^2) and `beta` at
    N(0, 0.02^2).

    Input shape:
        `(batch, tokens, dim)`.

    Output shape:
        `(batch, tokens, dim)`.

    Example:
    ```python
    transform = keras_pointpeft.peft.FeatureTransform()
    tokens = transform(np.random.rand(2, 32, 96))
    ```
    """

    def build(self, input_shape):
        shape = (input_shape[-1],)
        normal = keras.initializers.RandomNormal
        self.gamma = self.add_weight(
            shape=shape, initializer=normal(1.0, 0.02), name="gamma"
        )
        self.beta = self.add_weight(
            shape=shape, initializer=normal(0.0, 0.02), name="beta"
        )

    def call(self, x):
        return affine(x, *self.values())

    def values(self):
        """`gamma` and `beta`, tensors `(dim,)`."""
        return self.gamma.value, self.beta.value

    def fold(self, kernel, bias):
        """Kernel and bias of the layer before with the transform in."""
        gamma = keras.ops.convert_to_numpy(self.gamma)
        return kernel * gamma, bias * gamma + keras.ops.convert_to_numpy(
            self.beta
        )

    def compute_output_shape(self, input_shape):
        return input_shape


@serializable
class SiteTransforms(Configurable, BlockTuner):
    """A `FeatureTransform` after some of the layers of one block.

    Args:
        mlp_ratio: float. Width of the block's MLP over that of its tokens.
        sites: tuple of strings, some of norm1, qkv, proj, norm2, fc1, fc2.
    """

    def __init__(self, mlp_ratio, sites=BLOCK_SITES, **kwargs):
        super().__init__(**kwargs)
        self.mlp_ratio = mlp_ratio
        self.sites = tuple(sites)
        for site in self.sites:
            transform = FeatureTransform(dtype=self.dtype_policy, name=site)
            setattr(self, f"{site}_transform", transform)

    def build(self, tokens_shape):
        widths = site_widths(tokens_shape[-1], self.mlp_ratio)
        for site in self.sites:
            self.transform_at(site).build((None, None, widths[site][1]))

    def transform_at(self, site):
        """The `FeatureTransform` at one of the sites."""
        return getattr(self, f"{site}_transform")

    def affine(self, site):
        return self.transform_at(site).values() if site in self.sites else None

    def fold(self, site, kernel, bias):
        if site not in self.sites:
            return kernel, bias
        return self.transform_at(site).fold(kernel, bias)


def block_sites(sites):
    """Those of the sites that lie inside a block."""
    return tuple(site for site in sites if site in BLOCK_SITES)
