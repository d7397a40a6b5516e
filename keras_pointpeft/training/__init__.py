"""Recipes, training, and evaluation by the papers' protocols."""

import importlib

_NAMES = {
    "BestEpoch": "training.callbacks",
    "ClassMeanIoU": "step.part_metrics",
    "CosineWithWarmup": "training.schedule",
    "EpochLog": "training.callbacks",
    "EpochSeed": "training.callbacks",
    "EpochTimer": "training.callbacks",
    "Evaluation": "training.voting",
    "InstanceMeanIoU": "step.part_metrics",
    "LinearSVM": "training.linear_svm",
    "NotANumber": "training.callbacks",
    "Objective": "training.objective",
    "Recipe": "training.recipe",
    "SmoothedCrossentropy": "step.losses",
    "StopOnNaN": "training.callbacks",
    "TensorBoardLog": "training.callbacks",
    "TrainingCheckpoint": "training.checkpoint",
    "TrainingResult": "training.outcome",
    "WeightedCrossentropy": "step.losses",
    "class_weights": "step.losses",
    "confusion_matrix": "training.metrics",
    "cosine_with_warmup": "training.schedule",
    "decay_groups": "step.optimizer",
    "evaluate": "training.voting",
    "make_optimizer": "step.optimizer",
    "mean_class_accuracy": "training.metrics",
    "mean_iou": "training.metrics",
    "objective_of": "training.objectives",
    "overall_accuracy": "training.metrics",
    "pooled_features": "training.linear_svm",
    "svm_accuracy": "training.linear_svm",
    "train": "training.trainer",
    "vote_logits": "training.voting",
}

__all__ = list(_NAMES)


def __getattr__(name):
    # Imported on first use, so that recipes and results stay cheap.
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"keras_pointpeft.{_NAMES[name]}")
    return getattr(module, name)


def __dir__():
    return sorted(__all__)
