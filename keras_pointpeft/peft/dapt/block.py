"""What DAPT does in one transformer block."""

from keras_pointpeft.layers.recompute import part_call
from keras_pointpeft.peft.dapt.dynamic_adapter import DynamicAdapter
from keras_pointpeft.peft.dapt.internal_prompt import InternalPrompt
from keras_pointpeft.peft.parts.feature_transform import BLOCK_SITES
from keras_pointpeft.peft.parts.feature_transform import SiteTransforms
from keras_pointpeft.serialization import serializable


@serializable
class DAPTTuner(SiteTransforms):
    """DAPT inside one block: the transforms, the adapter and the prompt."""

    config_names = (
        "mlp_ratio",
        "rank",
        "dropout",
        "num_class_tokens",
        "sites",
        "mlp_reads",
        "scale_start",
        "scale_leak",
        "scale_step",
        "dynamic_scale",
        "internal_prompts",
    )

    def __init__(
        self,
        mlp_ratio,
        rank,
        dropout,
        num_class_tokens,
        sites=BLOCK_SITES,
        mlp_reads="normalized",
        scale_start="random",
        scale_leak=0.0,
        scale_step=1.0,
        dynamic_scale=True,
        internal_prompts=True,
        **kwargs,
    ):
        super().__init__(mlp_ratio, sites, **kwargs)
        policy = self.dtype_policy
        self.rank = rank
        self.dropout = dropout
        self.num_class_tokens = num_class_tokens
        self.mlp_reads = mlp_reads
        self.scale_start = scale_start
        self.scale_leak = scale_leak
        self.scale_step = scale_step
        self.dynamic_scale = dynamic_scale
        self.internal_prompts = internal_prompts
        self.tokens_added = int(internal_prompts)
        self.adapter = DynamicAdapter(
            rank,
            dropout,
            scale_start,
            scale_leak,
            scale_step,
            dynamic_scale,
            dtype=policy,
            name="adapter",
        )
        if internal_prompts:
            self.prompt = InternalPrompt(
                num_class_tokens, dtype=policy, name="prompt"
            )

    def build(self, tokens_shape):
        super().build(tokens_shape)
        self.adapter.build(tokens_shape)
        if self.internal_prompts:
            self.prompt.build(tokens_shape)

    def beside(self, place, x, geometry, training):
        if place != "mlp":
            return None
        return part_call(self.adapter, x, training=training)

    @property
    def token_scale(self):
        return self._token_scale if self.dynamic_scale else None

    def _token_scale(self, x):
        return self.adapter.token_scale(self.adapter.norm(x))

    def leave(self, tokens, side, geometry, training):
        if not self.internal_prompts:
            return tokens
        return part_call(self.prompt, tokens, side)
