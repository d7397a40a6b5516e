"""The serial adapter.

[Houlsby et al., ICML 2019](https://arxiv.org/abs/1902.00751).
"""

from keras_pointpeft.layers.tuner import BlockTuner
from keras_pointpeft.peft.method import ADDED
from keras_pointpeft.peft.method import CLASS_TOKEN
from keras_pointpeft.peft.method import WITH_CLASS_TOKEN
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.method import check_positive
from keras_pointpeft.peft.method import check_sites
from keras_pointpeft.peft.parts import BottleneckAdapter
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable

# After the attention and after the MLP, before they join the residual.
SITES = ("proj", "fc2")


@serializable
class AdapterTuner(Configurable, BlockTuner):
    """Adapters behind the attention and the MLP of one block."""

    def __init__(self, rank, sites=SITES, **kwargs):
        super().__init__(**kwargs)
        self.rank = rank
        self.sites = tuple(sites)
        for site in self.sites:
            adapter = BottleneckAdapter(
                rank,
                residual=True,
                activation="gelu",
                start="zero",
                dtype=self.dtype_policy,
                name=site,
            )
            setattr(self, f"{site}_adapter", adapter)

    def build(self, tokens_shape):
        for site in self.sites:
            getattr(self, f"{site}_adapter").build(tokens_shape)

    def after(self, place, x, training):
        if place not in self.sites:
            return x
        return getattr(self, f"{place}_adapter")(x, training=training)


@serializable
class Adapter(PeftMethod):
    """Bottleneck adapters behind attention and MLP of every block.

    [Adapter](https://arxiv.org/abs/1902.00751): on each branch of a block,
    before it joins the residual, `x + up(gelu(down(x)))`. The adapters start
    as the identity. The class token trains too.

    Args:
        rank: int. Width of the adapters' bottleneck.
        sites: tuple of strings. Behind which branches they stand: `"proj"`,
            the end of the attention, and `"fc2"`, the end of the MLP.
        frozen_bn: `"inference"` or `"track"`, see `PeftMethod`.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        peft=keras_pointpeft.peft.Adapter(rank=32)
    )
    ```
    """

    trained = WITH_CLASS_TOKEN
    components = {"adapters": ADDED, "class token": CLASS_TOKEN}

    def __init__(self, rank=32, sites=SITES, frozen_bn="inference"):
        self.rank = check_positive("rank", rank)
        self.sites = check_sites(sites, SITES, fewest=1)
        super().__init__(frozen_bn)

    def block_tuner(self, where):
        return AdapterTuner(self.rank, self.sites, **where.layer)
