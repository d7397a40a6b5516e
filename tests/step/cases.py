"""Small models of every method and task, each with a batch to train on."""

import keras
import numpy as np
import pytest

from keras_pointpeft import models
from keras_pointpeft import peft
from keras_pointpeft.step.optimizer import make_optimizer
from keras_pointpeft.training import CosineOfUpdates
from tests import test_registry

POINTS, BATCH = 64, 4
PARTS = ((0, 1), (2, 3), (4, 5))
# One of each kind of step; the others take a minute.
QUICK = (
    "dapt",
    "pointpeft",
    "pointgst",
    "dapt_mixed_bfloat16",
    "dapt_accumulated",
    "parts",
    "masked",
)


def cases() -> dict:
    """By name, a function that returns a compiled model, inputs and labels."""
    found = {}
    for preset in test_registry.one_of_each_method():
        found[preset.split("_")[0]] = lambda name=preset: _classifier(name)
    dapt = test_registry.one_of_each_method()
    dapt = next(name for name in dapt if name.startswith("dapt_"))
    for remat in ("none", "block"):
        found[f"dapt_remat_{remat}"] = lambda remat=remat: _classifier(
            dapt, remat=remat
        )
    found["dapt_mixed_bfloat16"] = lambda: _classifier(
        dapt, dtype="mixed_bfloat16"
    )
    found["dapt_accumulated"] = lambda: _classifier(
        dapt,
        gradient_accumulation=2,
        learning_rate=CosineOfUpdates(1e-3, steps=6, warmup_steps=2),
    )
    found["dapt_double_step"] = lambda: _classifier(dapt, double_step=True)
    found["parts"] = _parts
    found["scenes"] = _scenes
    found["masked"] = lambda: _masked("random")
    found["masked_blocks"] = lambda: _masked("block")
    found["generative"] = _generative
    found["hierarchical"] = _hierarchical
    return found


def cases_by_time():
    """Their names, as arguments of a test."""
    slow = {name: () if name in QUICK else pytest.mark.slow for name in cases()}
    return [pytest.param(name, marks=mark) for name, mark in slow.items()]


def _clouds():
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (BATCH, POINTS, 3)).astype("float32")
    return points, np.arange(BATCH, dtype="int32") % 3


def _classifier(
    name,
    dtype="float32",
    remat="elementwise",
    learning_rate=1e-3,
    **optimizer,
):
    model = test_registry.build(name, dtype)
    model.backbone.remat = remat
    points, labels = _clouds()
    if getattr(model.backbone.peft, "prior", False):
        clouds = np.concatenate([points] * 4)
        bank = peft.PriorBank.build(model, clouds, verbose=0)
        bank.sample(16).attach(model)
    model.compile(make_optimizer(model, learning_rate, **optimizer))
    return model, points, labels


def _backbone(kind=models.PointMAEBackbone, **arguments):
    sizes = test_registry.TINY[kind.__name__]
    return kind(**{**sizes, **arguments})


def _parts():
    backbone = _backbone(peft=peft.DAPT(rank=4), depth=3)
    model = models.PartSegmenter(
        backbone, 6, 3, PARTS, propagation_dims=(16, 12), head_dims=(16, 8)
    )
    points, category = _clouds()
    inputs = {"points": points, "category": category}
    rng = np.random.default_rng(1)
    labels = 2 * category[:, None] + rng.integers(0, 2, (BATCH, POINTS))
    model.compile(make_optimizer(model, 1e-3, double_step=True))
    return model, inputs, labels.astype("int32")


def _scenes():
    model = models.SemanticSegmenter(
        _backbone(peft=peft.DAPT(rank=4), depth=3),
        3,
        class_weights=(1.0, 2.0, 3.0),
        propagation_dims=(16, 12),
        head_dims=(16,),
    )
    points, _ = _clouds()
    labels = np.random.default_rng(1).integers(0, 3, (BATCH, POINTS))
    model.compile(make_optimizer(model, 1e-3))
    return model, points, labels.astype("int32")


def _pretraining(model):
    model.compile(keras.optimizers.AdamW(1e-3))
    return model, _clouds()[0], None


def _masked(kind):
    backbone = _backbone(drop_path_rate=0.1)
    return _pretraining(
        models.MaskedAutoencoder(
            backbone,
            decoder_depth=1,
            decoder_num_heads=3,
            mask_type=kind,
            seed=0,
        )
    )


def _generative():
    backbone = _backbone(models.PointGPTBackbone, generator_depth=1)
    return _pretraining(models.GenerativePretrainer(backbone, seed=0))


def _hierarchical():
    backbone = _backbone(models.PointM2AEBackbone)
    return _pretraining(
        models.HierarchicalMaskedAutoencoder(
            backbone, decoder_num_heads=3, seed=0
        )
    )
