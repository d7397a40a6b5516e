"""Recipes, training, and evaluation by the papers' protocols."""

import importlib

_NAMES = {
    "BestEpoch": "callbacks",
    "CosineWithWarmup": "schedule",
    "EpochLog": "callbacks",
    "EpochSeed": "callbacks",
    "EpochTimer": "callbacks",
    "Evaluation": "voting",
    "NotANumber": "callbacks",
    "Recipe": "recipe",
    "SmoothedCrossentropy": "losses",
    "StopOnNaN": "callbacks",
    "TensorBoardLog": "callbacks",
    "TrainingCheckpoint": "checkpoint",
    "TrainingResult": "outcome",
    "confusion_matrix": "metrics",
    "cosine_with_warmup": "schedule",
    "decay_groups": "optimizer",
    "evaluate": "voting",
    "make_optimizer": "optimizer",
    "mean_class_accuracy": "metrics",
    "overall_accuracy": "metrics",
    "train": "trainer",
    "vote_logits": "voting",
}

__all__ = list(_NAMES)


def __getattr__(name):
    # Imported on first use, so that recipes and results stay cheap.
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_NAMES[name]}")
    return getattr(module, name)


def __dir__():
    return sorted(__all__)
