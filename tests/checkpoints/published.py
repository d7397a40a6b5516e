"""Small models of every published kind, and files as their authors write."""

import numpy as np

from keras_pointpeft import models
from keras_pointpeft import peft
from keras_pointpeft.checkpoints import published_state

SIZE = {
    "num_groups": 8,
    "group_size": 8,
    "dim": 24,
    "depth": 2,
    "num_heads": 3,
    "encoder_dims": (8, 12, 16),
}


def backbone(name, **kwargs):
    return getattr(models, name)(**{**SIZE, **kwargs})


def classifier(name, classes=3, **kwargs):
    return models.PointCloudClassifier(backbone(name, **kwargs), classes)


KINDS = {
    "pointmae": lambda: classifier("PointMAEBackbone"),
    "pcpmae": lambda: classifier("PCPMAEBackbone"),
    "pointpqae": lambda: classifier("PointPQAEBackbone"),
    "pointbert": lambda: classifier("PointBERTBackbone", token_dim=16),
    "act": lambda: classifier("ACTBackbone"),
    "recon": lambda: classifier("ReConBackbone"),
    "pointgpt": lambda: classifier("PointGPTBackbone", generator_depth=1),
    "pointgpt_deep": lambda: classifier(
        "PointGPTBackbone", encoder_dims=(6, 8, 12, 16)
    ),
    "dapt_pointmae": lambda: classifier(
        "PointMAEBackbone", peft=peft.DAPT(rank=4)
    ),
    "dapt_pointgpt": lambda: classifier(
        "PointGPTBackbone",
        peft=peft.DAPT(
            rank=4,
            prompt_token="with_patches",
            position="last",
            sites=("norm1", "norm2", "fc1", "fc2"),
            mlp_reads="tokens",
        ),
    ),
    "most_pointgpt": lambda: classifier(
        "PointGPTBackbone",
        generator_depth=1,
        peft=peft.MoST(3, fusions=2, reference=True),
    ),
    "stag_pointmae": lambda: classifier(
        "PointMAEBackbone", peft=peft.STAG(rank=4, start=0.5, share=1)
    ),
    "gft_pointmae": lambda: classifier(
        "PointMAEBackbone",
        peft=peft.GFT(4, 4, graph_dims=(8, 6), graph_dim=10, rank=8),
    ),
    "side_act": lambda: classifier("ACTBackbone", peft=peft.SideTuning()),
}


def shuffled(model, seed=0):
    """The model with other weights than those it was built with."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if "seed_generator" not in variable.path:
            variable.assign(rng.uniform(0.1, 1.0, variable.shape))
    return model


def state_of(kind, pretrained=False):
    return published_state(shuffled(KINDS[kind]()), pretrained)
