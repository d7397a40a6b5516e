"""Recipes, training, and evaluation by the papers' protocols."""

from keras_pointpeft import lazy

# Recipes and results stay cheap.
__getattr__, __dir__, __all__ = lazy.face(
    __name__,
    {
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
        "compile_for": "training.trainer",
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
    },
    ("parallel",),
)
