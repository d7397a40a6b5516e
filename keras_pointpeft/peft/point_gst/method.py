"""PointGST: adapters in the spectral domain of the cloud.

[Liang et al., 2024](https://arxiv.org/abs/2410.08114).
"""

from keras_pointpeft.peft.method import ADDED
from keras_pointpeft.peft.method import CLASS_TOKEN
from keras_pointpeft.peft.method import WITH_CLASS_TOKEN
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.method import check_positive
from keras_pointpeft.peft.point_gst.block import PointGSTTuner
from keras_pointpeft.peft.point_gst.spectral_basis import SpectralBasis
from keras_pointpeft.serialization import serializable


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
        frozen_bn: `"inference"` or `"track"`, see `PeftMethod`.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        num_groups=128, peft=keras_pointpeft.peft.PointGST(rank=36)
    )
    ```
    """

    trained = WITH_CLASS_TOKEN
    components = {"spectral adapters": ADDED, "class token": CLASS_TOKEN}

    def __init__(
        self, rank=36, local=32, reference=False, frozen_bn="inference"
    ):
        self.rank = check_positive("rank", rank)
        self.local = check_positive("local", local)
        self.reference = reference
        super().__init__(frozen_bn)

    def geometry_tuner(self, where):
        return SpectralBasis(self.local, self.reference, **where.layer)

    def block_tuner(self, where):
        return PointGSTTuner(self.rank, self.reference, **where.layer)
