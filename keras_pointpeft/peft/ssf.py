from keras_pointpeft.peft.method import ADDED
from keras_pointpeft.peft.method import CLASS_TOKEN
from keras_pointpeft.peft.method import WITH_CLASS_TOKEN
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.method import check_frozen_bn
from keras_pointpeft.peft.method import check_sites
from keras_pointpeft.peft.parts.feature_transform import SITES
from keras_pointpeft.peft.parts.feature_transform import FeatureTransform
from keras_pointpeft.peft.parts.feature_transform import SiteTransforms
from keras_pointpeft.peft.parts.feature_transform import block_sites
from keras_pointpeft.serialization import serializable


@serializable
class SSF(PeftMethod):
    """Scales and shifts the features after each layer of a frozen backbone.

    [Scaling & Shifting Your Features](https://arxiv.org/abs/2210.08823): a
    `FeatureTransform` after every linear layer and norm, which
    `keras_pointpeft.adapters.merge` folds into them. The class token
    trains too.

    Args:
        sites: tuple of strings. Where the transforms stand: after
            `"patches"` (the patch encoder), in every block after `"norm1"`,
            `"qkv"`, `"proj"`, `"norm2"`, `"fc1"` and `"fc2"`, and after the
            `"final"` norm.
        frozen_bn: `"inference"` or `"track"`. What the frozen BatchNorms of
            the patch encoder do in training: keep to their moving statistics,
            or use and follow those of the batch.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        peft=keras_pointpeft.peft.SSF()
    )
    ```
    """

    config_names = ("sites", "frozen_bn")
    trained = WITH_CLASS_TOKEN
    components = {"feature transforms": ADDED, "class token": CLASS_TOKEN}

    def __init__(self, sites=SITES, frozen_bn="inference"):
        self.sites = check_sites(sites, SITES)
        self.frozen_bn = check_frozen_bn(frozen_bn)

    def patch_tuner(self, dim, **kwargs):
        return FeatureTransform(**kwargs) if "patches" in self.sites else None

    def block_tuner(
        self, index, depth, dim, num_class_tokens, mlp_ratio, **kwargs
    ):
        return SiteTransforms(mlp_ratio, block_sites(self.sites), **kwargs)

    def norm_tuner(self, dim, **kwargs):
        return FeatureTransform(**kwargs) if "final" in self.sites else None

    def merged(self, partial=False):
        return None
