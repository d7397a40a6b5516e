"""Recipes, training, and evaluation by the papers' protocols."""

import importlib

_NAMES = {
    "BestEpoch": "callbacks",
    "ClassMeanIoU": "part_metrics",
    "CosineWithWarmup": "schedule",
    "EpochLog": "callbacks",
    "EpochSeed": "callbacks",
    "EpochTimer": "callbacks",
    "Evaluation": "voting",
    "InstanceMeanIoU": "part_metrics",
    "LinearSVM": "linear_svm",
    "NotANumber": "callbacks",
    "Objective": "objectives",
    "Recipe": "recipe",
    "SmoothedCrossentropy": "losses",
    "StopOnNaN": "callbacks",
    "TensorBoardLog": "callbacks",
    "TrainingCheckpoint": "checkpoint",
    "TrainingResult": "outcome",
    "WeightedCrossentropy": "losses",
    "class_weights": "losses",
    "confusion_matrix": "metrics",
    "cosine_with_warmup": "schedule",
    "decay_groups": "optimizer",
    "evaluate": "voting",
    "make_optimizer": "optimizer",
    "mean_class_accuracy": "metrics",
    "mean_iou": "metrics",
    "objective_of": "objectives",
    "overall_accuracy": "metrics",
    "pooled_features": "linear_svm",
    "svm_accuracy": "linear_svm",
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
