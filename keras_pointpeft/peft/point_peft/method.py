from keras_pointpeft.peft.method import ADDED
from keras_pointpeft.peft.method import CLASS_TOKEN
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.method import check_positive
from keras_pointpeft.peft.point_peft.block import NormDelta
from keras_pointpeft.peft.point_peft.block import PointPEFTTuner
from keras_pointpeft.peft.point_peft.block import TokenNeighborhoods
from keras_pointpeft.peft.point_peft.prior import PriorQuery
from keras_pointpeft.peft.point_peft.prior import prior_layer
from keras_pointpeft.serialization import positive_integers
from keras_pointpeft.serialization import serializable
from keras_pointpeft.serialization import whole_number


@serializable
class PointPEFT(PeftMethod):
    """Prompts drawn from a bank of features, and geometry-aware adapters.

    [Point-PEFT](https://arxiv.org/abs/2310.03059) freezes the backbone. The
    first blocks get prompts: learned ones plus what the frozen backbone's
    feature of the cloud finds in a bank of features of the training set (see
    `PriorBank`, which builds it). Every block gets an adapter behind its MLP,
    one at its end, and in between the `GeometryAwareAdapter`. Biases of
    blocks and the final norm train too, as differences to the frozen ones:
    the bank's query uses the same frozen weights in a second, narrow pass.

    A model with `prior=True` needs a bank before it is used:

    ```py
    bank = keras_pointpeft.peft.PriorBank.build(model, train_points)
    bank.attach(model)
    ```

    The published code has two defects, which `reference=True` reproduces for
    the sake of its checkpoints. Neighbours in the prompted blocks are looked
    up with the stride of another tensor, so that samples read rows of other
    samples of their batch, and prompts for patches; and their coordinates
    belong to a second choice of patches, with learned coordinates of the
    prompts among the points. The default is what the paper means: patches
    exchange features with the patches next to them, and a sample's logits do
    not depend on the rest of its batch. It also leaves out what the published
    model trains but never uses. The defects cost four points of accuracy on
    359 real scans of five classes (82.7 +- 4.0 against 87.0 +- 1.0 %, three
    seeds), eight on procedural scans (51.6 against 59.8 %, one seed).

    Args:
        num_prompts: int. Prompts per block. The mix, the feature itself and
            `num_prompts - 2` entries of the bank make the prior.
        prompt_blocks: int. How many blocks, from the first, get prompts.
        prior: bool. Whether prompts draw on a bank. Without it they are
            learned alone and no second pass is made.
        bank_size: int. Room for so many features in the bank.
        prior_num_groups: int or None. Patches of the pass that makes the query;
            None for the backbone's own number. Of several stages, a tuple.
        prior_group_size: int or None. Points per patch, likewise.
        prior_rank: int. Width of the prior's adapters.
        prompt_dropout: float. Dropout rate of the learned prompts.
        adapter_rank: int. Width of the other adapters.
        adapter_dropout: float. Dropout rate inside them.
        adapter_scale: float. Scale of the adapter behind the MLP.
        adapter_start: `"zero"`, adapters change nothing before they are
            trained, `"xavier"`, as published, or None for `"xavier"` in
            reference mode and else `"zero"`.
        geometry_adapter: bool. Whether there are geometry-aware adapters.
        neighborhood_ratio: int. A neighbourhood for every so many patches,
            of `group_size // neighborhood_ratio` patches.
        attention_dim: int. Width of the local attention.
        num_heads: int. Its heads.
        center_scale: float. See `GeometryAwareAdapter`.
        propagation_scale: float. See `GeometryAwareAdapter`.
        neighborhood_pooling: `"max"` or `"max+mean"`, likewise.
        prompt_place: `"sequence"`, prompts are tokens of their block, or
            `"attention"`: the tokens look at them in an attention of its own,
            behind one gate per head that starts at 0. The latter, `gated` and
            `prompt_blocks` as many as there are blocks, is what the published
            code has for ModelNet40.
        gated: bool. Whether a learned scale that starts at 0 stands before
            the sum of MLP and adapter in each block, in place of
            `adapter_scale`, as in the published code for Point-M2AE: training
            then starts as if the backbone had no MLPs.
        reference: bool. Whether to compute what the published code computes.
        frozen_bn: `"inference"` or `"track"`, see `PeftMethod`.

    Raises:
        ValueError: for an unknown `prompt_place`, or a number that is no
            positive integer (`prompt_blocks` may be 0, and without a prior
            `bank_size`).

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        num_groups=128, peft=keras_pointpeft.peft.PointPEFT(bank_size=512)
    )
    ```
    """

    renamed = {
        "prior_groups": "prior_num_groups",
        "attention_heads": "num_heads",
    }
    training_only = (
        "prompt_dropout",
        "adapter_dropout",
        "adapter_start",
        # A model may keep a bank of its own, see `save_adapter`.
        "bank_size",
        "bank_recipe",
    )
    trained = (ADDED, CLASS_TOKEN)
    state = (r"(^|/)tuner_prior/",)
    components = {
        "prompts": r"/tuner/prompt/|/prompt_coordinates$",
        "geometry-aware adapter": r"(^|/)tuner_geometry|/tuner/geometry/",
        "adapters": r"/tuner/(mlp|block)_adapter/",
        "biases and norm": r"/tuner/\w+_bias$|(^|/)tuner_norm/",
        "class token": r"(^|/)class_(tokens|norm)/",
        "gates": r"/tuner/(attention_)?gate$",
    }

    def __init__(
        self,
        num_prompts=10,
        prompt_blocks=6,
        prior=True,
        bank_size=2048,
        prior_num_groups=64,
        prior_group_size=32,
        prior_rank=8,
        prompt_dropout=0.1,
        adapter_rank=16,
        adapter_dropout=0.1,
        adapter_scale=0.7,
        adapter_start=None,
        geometry_adapter=True,
        neighborhood_ratio=2,
        attention_dim=18,
        num_heads=6,
        center_scale=0.3,
        propagation_scale=0.3,
        reference=False,
        frozen_bn="inference",
        bank_recipe=None,
        neighborhood_pooling="max",
        gated=False,
        prompt_place="sequence",
    ):
        if prompt_place not in ("sequence", "attention"):
            raise ValueError(
                "`prompt_place` must be 'sequence' or 'attention'. "
                f"Received: prompt_place={prompt_place!r}"
            )
        if prior and num_prompts < 3:
            raise ValueError(
                "The prior's prompts are the feature, the mix and at least "
                "one entry of the bank: `num_prompts` must be at least 3. "
                f"Received: num_prompts={num_prompts}"
            )
        self.num_prompts = check_positive("num_prompts", num_prompts)
        self.prompt_blocks = whole_number("prompt_blocks", prompt_blocks)
        self.prior = prior
        # Without a prior there is none.
        check_bank = check_positive if prior else whole_number
        self.bank_size = check_bank("bank_size", bank_size)
        self.prior_num_groups = _sizes("prior_num_groups", prior_num_groups)
        self.prior_group_size = _sizes("prior_group_size", prior_group_size)
        self.prior_rank = check_positive("prior_rank", prior_rank)
        self.prompt_dropout = prompt_dropout
        self.adapter_rank = check_positive("adapter_rank", adapter_rank)
        self.adapter_dropout = adapter_dropout
        self.adapter_scale = adapter_scale
        if adapter_start is None:
            adapter_start = "xavier" if reference else "zero"
        self.adapter_start = adapter_start
        self.geometry_adapter = geometry_adapter
        self.neighborhood_ratio = check_positive(
            "neighborhood_ratio", neighborhood_ratio
        )
        self.attention_dim = check_positive("attention_dim", attention_dim)
        self.num_heads = check_positive("num_heads", num_heads)
        self.center_scale = center_scale
        self.propagation_scale = propagation_scale
        self.reference = reference
        super().__init__(frozen_bn)
        # How the bank that was attached had been made; see `PriorBank`.
        self.bank_recipe = bank_recipe
        self.neighborhood_pooling = neighborhood_pooling
        self.gated = gated
        self.prompt_place = prompt_place

    @classmethod
    def effective(cls, config):
        config = dict(config)
        if not config.get("prior", True):
            config["prior_num_groups"] = config["prior_group_size"] = None
        if config.get("gated", False):
            config["adapter_scale"] = None
        return config

    def geometry_tuner(self, where):
        if not self.geometry_adapter:
            return None
        count, size = where.next_patches
        first = where.stage == 0
        return TokenNeighborhoods(
            count or where.num_groups // self.neighborhood_ratio,
            size or where.group_size // self.neighborhood_ratio,
            where.num_groups,
            where.dim,
            self.attention_dim,
            self.num_heads,
            num_prompts=self.num_prompts if self.reference and first else 0,
            prompted=self.reference and not first,
            skip_origin=where.skip_origin,
            **where.layer,
        )

    def prior_tuner(self, where):
        if not self.prior:
            return None
        return PriorQuery(
            self.bank_size,
            self.num_prompts - 2,
            self.prior_num_groups,
            self.prior_group_size,
            **where.layer,
        )

    def block_tuner(self, where):
        beside = self.prompt_place == "attention"
        prompted = where.index < self.prompt_blocks
        # The last stage alone draws on the bank: its tokens are the bank's.
        last = where.is_last_stage
        tuner = PointPEFTTuner(
            where.mlp_ratio,
            where.num_class_tokens,
            prompted=prompted and not beside,
            num_heads=(self.num_heads if prompted and beside else None),
            reads_prior=self.prior and prompted and last,
            num_prompts=self.num_prompts,
            prompt_dropout=self.prompt_dropout,
            prior_rank=self.prior_rank if last else None,
            adapter_rank=self.adapter_rank,
            adapter_dropout=self.adapter_dropout,
            adapter_scale=self.adapter_scale,
            adapter_start=self.adapter_start,
            center_scale=self.center_scale,
            propagation_scale=self.propagation_scale,
            reference=self.reference,
            gated=self.gated,
            pooling=self.neighborhood_pooling,
            shared=where.shared,
            drop_path_rate=where.drop_path_rate,
            **where.layer,
        )
        if self.prior and last and not tuner.reads_prior:
            # A model keeps its bank even if none of its blocks has prompts:
            # a tuner has to read the prior, or it is no part of the graph.
            tuner.needs = (*tuner.needs, "prior")
        return tuner

    def norm_tuner(self, where):
        return NormDelta(**where.layer)

    def check(self, backbone):
        layer = prior_layer(backbone)
        if layer is not None:
            layer.require_filled()


def _sizes(name, size):
    """None, a positive integer, or a tuple of some."""
    if isinstance(size, (list, tuple)):
        return positive_integers(name, size)
    return None if size is None else check_positive(name, size)
