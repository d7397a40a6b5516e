from keras_pointpeft.peft.method import ADDED
from keras_pointpeft.peft.method import CLASS_TOKEN
from keras_pointpeft.peft.method import WITH_CLASS_TOKEN
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.method import check_sites
from keras_pointpeft.peft.parts import SITES
from keras_pointpeft.peft.parts import FeatureTransform
from keras_pointpeft.peft.parts import SiteTransforms
from keras_pointpeft.peft.parts import block_sites
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
        frozen_bn: `"inference"` or `"track"`, see `PeftMethod`.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        peft=keras_pointpeft.peft.SSF()
    )
    ```
    """

    trained = WITH_CLASS_TOKEN
    components = {"feature transforms": ADDED, "class token": CLASS_TOKEN}

    def __init__(self, sites=SITES, frozen_bn="inference"):
        self.sites = check_sites(sites, SITES)
        super().__init__(frozen_bn)

    def patch_tuner(self, where):
        if "patches" not in self.sites:
            return None
        return FeatureTransform(**where.layer)

    def block_tuner(self, where):
        sites = block_sites(self.sites)
        return SiteTransforms(where.mlp_ratio, sites, **where.layer)

    def norm_tuner(self, where):
        if "final" not in self.sites:
            return None
        return FeatureTransform(**where.layer)

    def merged(self, partial=False):
        return None
