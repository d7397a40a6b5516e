"""IDPT: one prompt, made from the patch tokens of the cloud itself.

[Zha et al., ICCV 2023](https://arxiv.org/abs/2304.07221).
"""

import operator

from keras_pointpeft.peft.idpt.insertion import READS
from keras_pointpeft.peft.idpt.insertion import PromptInsertion
from keras_pointpeft.peft.idpt.insertion import PromptPosition
from keras_pointpeft.peft.idpt.instance_prompt import MODULES
from keras_pointpeft.peft.idpt.instance_prompt import InstancePrompt
from keras_pointpeft.peft.method import ADDED
from keras_pointpeft.peft.method import CLASS_TOKEN
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.method import check_positive
from keras_pointpeft.serialization import serializable


@serializable
class IDPT(PeftMethod):
    """A prompt for each cloud, made from its own patch tokens.

    [Instance-aware Dynamic Prompt Tuning](https://arxiv.org/abs/2304.07221)
    freezes the backbone. Before one of the last blocks, a small network looks
    at the patch tokens and makes one prompt of them, which joins the sequence
    and is read by the head. The class token trains too.

    The published code never trains the prompt's position, which
    `reference=True` reproduces.

    Args:
        prompt_block: int. Before which block the prompt is made; a negative
            number counts from the end. In a hierarchical backbone it is one
            of the last stage. A tuple of blocks, as published for
            segmentation, gives each of them a prompt that leaves after it;
            segmentation then reads the prompts in place of the patches'
            maximum and mean.
        module: `"dgcnn"`, `"dgcnn_light"`, `"dgcnn_light2"`, `"mlp"` or
            `"transformer"`, see `InstancePrompt`.
        num_neighbors: int. Nearest tokens, by their features, in the graphs.
        num_heads: int. Attention heads of the module `"transformer"`.
        reads: which tokens the head reads: `"all"` (class token, prompt and
            patches), `"prompt_and_class"`, `"patches_and_class"` or
            `"prompt"`. With a tuple of blocks, no prompt is left for it, and
            this is taken for `"patches_and_class"`.
        reference: bool. Whether the prompt's position stays as it starts.
        frozen_bn: `"inference"` or `"track"`, see `PeftMethod`.

    Raises:
        ValueError: for an unknown `module`, `reads` or `frozen_bn`, and when
            the backbone is built, for a `prompt_block` that it does not have.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        peft=keras_pointpeft.peft.IDPT(module="dgcnn")
    )
    ```
    """

    renamed = {"neighbors": "num_neighbors"}
    components = {
        "prompt module": r"(^|/)tuner[^/]*/prompt/|(^|/)tuner_passing_\d+/",
        "prompt position": ADDED,
        "class token": CLASS_TOKEN,
    }

    def __init__(
        self,
        prompt_block=-1,
        module="dgcnn",
        num_neighbors=20,
        num_heads=6,
        reads="all",
        reference=False,
        frozen_bn="inference",
    ):
        if module not in MODULES:
            raise ValueError(
                f"`module` must be one of {sorted(MODULES)}. "
                f"Received: module={module!r}"
            )
        if reads not in READS:
            raise ValueError(
                f"`reads` must be one of {sorted(READS)}. "
                f"Received: reads={reads!r}"
            )
        self.prompt_block = _blocks(prompt_block)
        self.module = module
        self.num_neighbors = check_positive("num_neighbors", num_neighbors)
        self.num_heads = check_positive("num_heads", num_heads)
        self.reads = reads
        self.reference = reference
        super().__init__(frozen_bn)

    @property
    def trained(self):
        added = self.components["prompt module"] if self.reference else ADDED
        return (added, CLASS_TOKEN)

    @property
    def state(self):
        return (r"(^|/)tuner[^/]*/position$",) if self.reference else ()

    @property
    def pooling(self):
        names = ("class_token", "prompt_token", "patch_token")
        if isinstance(self.prompt_block, tuple):
            return dict(zip(names, READS["patches_and_class"]))
        return dict(zip(names, READS[self.reads]))

    def sequence_tuner(self, where):
        if not where.is_last_stage or isinstance(self.prompt_block, tuple):
            return None
        block, blocks = self.prompt_block, where.blocks
        block = block + blocks.stop if block < 0 else block
        if block not in blocks:
            raise ValueError(
                f"`prompt_block` must be one of the blocks {blocks.start} to "
                f"{blocks.stop - 1}, or count from the end. "
                f"Received: prompt_block={self.prompt_block}"
            )
        return PromptInsertion(
            block,
            where.num_class_tokens,
            self.module,
            self.num_neighbors,
            self.num_heads,
            **where.layer,
        )

    def passing_tuners(self, where):
        chosen = self.prompt_block
        chosen = chosen if isinstance(chosen, tuple) else ()
        if not set(chosen) <= set(range(where.depth)):
            raise ValueError(
                "Each of `prompt_block` must be one of the blocks 0 to "
                f"{where.depth - 1}. Received: prompt_block={chosen}"
            )
        layers = {
            block: InstancePrompt(
                self.module,
                self.num_neighbors,
                self.num_heads,
                dtype=where.dtype,
                name=f"tuner_passing_{block}",
            )
            for block in chosen
            if block in where.blocks
        }
        name = f"tuner_passing_position_{where.blocks.start}"
        return layers, PromptPosition(dtype=where.dtype, name=name)


def _blocks(prompt_block):
    """An int, or a tuple of ints."""
    several = hasattr(prompt_block, "__iter__")
    try:
        found = tuple(
            operator.index(x)
            for x in (prompt_block if several else (prompt_block,))
        )
    except TypeError:
        found = ()
    if not found:
        raise ValueError(
            "`prompt_block` must be the number of a block, or a tuple of some. "
            f"Received: prompt_block={prompt_block!r}"
        )
    return found if several else found[0]
