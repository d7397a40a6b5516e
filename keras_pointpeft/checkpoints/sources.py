"""Tells what a published checkpoint is, by the names in it."""

import dataclasses
import re

from keras_pointpeft.checkpoints.layouts import point_gpt
from keras_pointpeft.checkpoints.layouts.registry import METHOD_SIGNS
from keras_pointpeft.checkpoints.transfer import CheckpointMismatch

PRETRAINING = "part of the pre-training, not of the backbone"
TEACHER = "a teacher or tokenizer of the pre-training"
MOMENTUM = "the momentum copy of the pre-training"
NO_CLASS_TOKEN = "the pre-training has no class token"
NEW_HEAD = "the pre-training has no such head"
NEW_METHOD = "the method starts fresh"

PLAIN = ("PointMAEBackbone", "ACTBackbone")


@dataclasses.dataclass(frozen=True)
class Source:
    """A kind of published checkpoint.

    Attributes:
        title: string, for messages.
        backbones: tuple of the backbone classes that it fits.
        signs: tuple of regular expressions; each is found in some name.
        prefix: string before the backbone's names.
        ignored: dict from a regular expression on the file's names to the
            reason why such a tensor is left out.
        initial: dict from a regular expression on our paths to the reason
            why such a variable keeps its initial value.
        pretrained: bool. Whether it comes from pre-training, so that a head
            and a method start fresh.
    """

    title: str
    backbones: tuple
    signs: tuple
    prefix: str = ""
    ignored: dict = dataclasses.field(default_factory=dict)
    initial: dict = dataclasses.field(default_factory=dict)
    pretrained: bool = True


_DECODER = {
    r"^mask_token$": PRETRAINING,
    r"^decoder_pos_embed\.": PRETRAINING,
    r"^increase_dim\.": PRETRAINING,
    r"^MAE_decoder\.": PRETRAINING,
}
_GPT_UNREAD = {
    pattern.replace("^", r"^GPT_Transformer\."): reason
    for pattern, reason in point_gpt.UNREAD.items()
}

# The first whose signs are all there is taken.
SOURCES = [
    Source(
        "Point-BERT, pre-trained",
        ("PointBERTBackbone",),
        (r"^transformer_q\.",),
        "transformer_q.",
        {
            r"^transformer_k\.": MOMENTUM,
            r"^dvae\.": TEACHER,
            r"^queue(_ptr)?$": PRETRAINING,
            r"^transformer_q\.(mask_token$|lm_head\.|cls_head\.)": PRETRAINING,
        },
    ),
    Source(
        "ACT, pre-trained",
        PLAIN,
        (r"^ACT_encoder\.",),
        "ACT_encoder.",
        {
            r"^mask_token$": PRETRAINING,
            r"^ACT_encoder\.(lm_head|cls_head)\.": PRETRAINING,
            r"^(proj_head|decoder_pos_embed|ACT_decoder)\.": PRETRAINING,
            r"^dvae_tokenizer\.": TEACHER,
        },
    ),
    Source(
        "ReCon, pre-trained",
        ("ReConBackbone",),
        (r"^MAE_encoder\..*_contrast\.",),
        "MAE_encoder.",
        {
            **_DECODER,
            r"^(img|text)_proj\.": PRETRAINING,
            r"^(img|text)_encoder\.": TEACHER,
        },
    ),
    Source(
        "Point-MAE, pre-trained",
        PLAIN,
        (r"^MAE_encoder\.",),
        "MAE_encoder.",
        _DECODER,
        {r"^class_tokens/": NO_CLASS_TOKEN},
    ),
    Source(
        "PointGPT, pre-trained",
        ("PointGPTBackbone",),
        (r"^GPT_Transformer\.",),
        "GPT_Transformer.",
        _GPT_UNREAD,
        {r"^class_(tokens|norm)/": NO_CLASS_TOKEN},
    ),
    Source(
        "Point-M2AE, pre-trained",
        ("PointM2AEBackbone",),
        (r"^h_encoder\.", r"^h_decoder\."),
        "",
        {
            r"^h_encoder\.encoder_norms\.": "norms of the pre-training",
            r"^(h_decoder|decoder_|token_prop|rec_head)": PRETRAINING,
            r"^mask_token$": PRETRAINING,
        },
        {r"^norm/": "the pre-training has one norm for each stage instead"},
    ),
    Source(
        "PointGPT, classifier",
        ("PointGPTBackbone",),
        (r"^blocks\.layers\.\d+\.ln_1\.",),
        "",
        point_gpt.UNREAD,
        pretrained=False,
    ),
    Source(
        "ReCon, classifier",
        ("ReConBackbone",),
        (r"^blocks\.blocks\.\d+\.norm1_contrast\.",),
        pretrained=False,
    ),
    Source(
        "Point-M2AE, classifier",
        ("PointM2AEBackbone",),
        (r"^h_encoder\.",),
        pretrained=False,
    ),
    Source(
        "Point-BERT, classifier",
        ("PointBERTBackbone", *PLAIN),
        (r"^blocks\.blocks\.\d+\.norm1\.", r"^reduce_dim\."),
        pretrained=False,
    ),
    Source(
        "Point-MAE or ACT, classifier",
        PLAIN,
        (r"^blocks\.blocks\.\d+\.norm1\.",),
        pretrained=False,
    ),
]


def identify(state):
    """Says what kind of checkpoint a state dict is.

    Args:
        state: dict from name to array, as `read_checkpoint` returns it.

    Returns:
        A `Source`, and the state dict without the prefix `base_model.`.

    Raises:
        CheckpointMismatch: if no known kind has such names.
    """
    start = "base_model."
    if state and all(name.startswith(start) for name in state):
        state = {name.removeprefix(start): v for name, v in state.items()}
    for source in SOURCES:
        if all(any(re.search(s, name) for name in state) for s in source.signs):
            return source, state
    known = ", ".join(source.title for source in SOURCES)
    raise CheckpointMismatch(
        f"This is no checkpoint of a known kind ({known}). Received: "
        f"{len(state)} tensors, among them {sorted(state)[:8]}"
    )


def method_of(state):
    """The title of the fine-tuning method that left its tensors, or None."""
    for title, sign in METHOD_SIGNS.items():
        if any(re.search(sign, name) for name in state):
            return title
    return None
