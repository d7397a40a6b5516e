"""GAPrompt: geometry-aware prompts.

[Zhou et al., ICML 2025](https://arxiv.org/abs/2505.04119).
"""

from keras_pointpeft.peft.ga_prompt.block import GAPromptTuner
from keras_pointpeft.peft.ga_prompt.prompt_geometry import PromptGeometry
from keras_pointpeft.peft.ga_prompt.shift_prompter import ShiftPrompter
from keras_pointpeft.peft.method import ADDED
from keras_pointpeft.peft.method import CLASS_TOKEN
from keras_pointpeft.peft.method import WITH_CLASS_TOKEN
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.method import check_positive
from keras_pointpeft.serialization import serializable
from keras_pointpeft.serialization import whole_number


@serializable
class GAPrompt(PeftMethod):
    """Learned points, shifted clouds, and prompts that know the shape.

    [GAPrompt](https://arxiv.org/abs/2505.04119) freezes the backbone. A small
    network shifts the points of the cloud and describes its shape; learned
    points join the cloud; prompts, told of the shape, join the tokens of the
    first blocks; in every block the patches exchange features with their
    neighbours, and an adapter follows. The head reads the shape, too; its
    published dropout rate is 0.6. The class token trains as well.

    Prompts take part in the exchange in one of two ways. `"permutation"`,
    which most published configurations use, puts them before the patches, so
    that an index of a patch means a prompt or another patch;
    `"replacement"` puts them in the place of the last patches. The published
    code looks the former up with the stride of another tensor, so that
    samples read rows of other samples of their batch; `reference=True`
    reproduces that.

    Args:
        num_points: int. Learned points.
        point_scale: float. They start uniformly within this of the origin.
        point_factor: float. The factor that the drawn points are multiplied
            by.
        perturbation: float. Weight of the shifts.
        num_prompts: int. Prompts per block.
        prompt_blocks: int. How many blocks, from the first, have them.
        prompt_dropout: float. Dropout rate of the prompts.
        adapter_rank: int. Width of the adapters' bottleneck.
        adapter_dropout: float. Dropout rate inside the adapters.
        adapter_scale: float. Weight of the adapters' output.
        shape_scale: float. Weight of the shape in prompts and adapters.
        center_scale: float. See `GeometryAwareAdapter`.
        propagation_scale: float. See `GeometryAwareAdapter`.
        propagation: `"permutation"` or `"replacement"`.
        before_attention: bool. Whether patches exchange features before the
            attention and not at the end of the block.
        reference: bool. Whether to compute what the published code computes.
        frozen_bn: `"inference"` or `"track"`, see `PeftMethod`.

    Raises:
        ValueError: for an unknown `propagation` or `frozen_bn`, or a number
            that is no positive integer (`prompt_blocks` may be 0).

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        num_groups=128, peft=keras_pointpeft.peft.GAPrompt()
    )
    ```
    """

    training_only = ("prompt_dropout", "adapter_dropout")
    trained = WITH_CLASS_TOKEN
    components = {
        "shift prompter": r"(^|/)tuner_cloud/",
        "shape": r"(^|/)tuner_geometry[^/]*/shape/",
        "prompts": r"/(embeddings|coordinates)$",
        "adapters": ADDED,
        "class token": CLASS_TOKEN,
    }
    pooling = {
        "class_token": "first",
        "prompt_token": "first",
        "patch_token": "max",
        "order": ("class_token", "patch_token", "prompt_token"),
    }

    def __init__(
        self,
        num_points=5,
        point_scale=0.01,
        point_factor=5.0,
        perturbation=0.8,
        num_prompts=10,
        prompt_blocks=6,
        prompt_dropout=0.1,
        adapter_rank=16,
        adapter_dropout=0.1,
        adapter_scale=0.7,
        shape_scale=0.5,
        center_scale=0.3,
        propagation_scale=0.3,
        propagation="permutation",
        before_attention=False,
        reference=False,
        frozen_bn="inference",
    ):
        if propagation not in ("permutation", "replacement"):
            raise ValueError(
                "`propagation` must be 'permutation' or 'replacement'. "
                f"Received: propagation={propagation!r}"
            )
        self.num_points = check_positive("num_points", num_points)
        self.point_scale = point_scale
        self.point_factor = point_factor
        self.perturbation = perturbation
        self.num_prompts = check_positive("num_prompts", num_prompts)
        self.prompt_blocks = whole_number("prompt_blocks", prompt_blocks)
        self.prompt_dropout = prompt_dropout
        self.adapter_rank = check_positive("adapter_rank", adapter_rank)
        self.adapter_dropout = adapter_dropout
        self.adapter_scale = adapter_scale
        self.shape_scale = shape_scale
        self.center_scale = center_scale
        self.propagation_scale = propagation_scale
        self.propagation = propagation
        self.before_attention = before_attention
        self.reference = reference
        super().__init__(frozen_bn)

    def cloud_tuner(self, where):
        return ShiftPrompter(
            where.num_groups,
            where.group_size,
            self.num_points,
            self.point_scale,
            self.point_factor,
            self.perturbation,
            where.skip_origin,
            **where.layer,
        )

    def geometry_tuner(self, where):
        count, size = where.next_patches
        prompted = where.blocks.start < self.prompt_blocks
        return PromptGeometry(
            count or where.num_groups // 2,
            size or where.group_size // 2,
            where.num_groups,
            where.dim,
            self.num_prompts if prompted else 0,
            where.skip_origin,
            **where.layer,
        )

    def block_tuner(self, where):
        prompted = where.index < self.prompt_blocks
        return GAPromptTuner(
            where.num_class_tokens,
            self.num_prompts if prompted else 0,
            self.prompt_dropout,
            self.adapter_rank,
            self.adapter_dropout,
            self.adapter_scale,
            self.shape_scale,
            self.center_scale,
            self.propagation_scale,
            self.propagation,
            self.before_attention,
            # The published indices are wrong only where prompts stand in the
            # sequence.
            self.reference and self.propagation == "permutation",
            drop_path_rate=where.drop_path_rate,
            **where.layer,
        )
