"""Runs of presets, comparisons of methods, and what a step costs."""

from keras_pointpeft import lazy

__getattr__, __dir__, __all__ = lazy.face(
    __name__,
    {
        "Prediction": "experiments.prediction",
        "predict_files": "experiments.predicting",
    },
    (
        "comparison",
        "comparison_tables",
        "cost",
        "method_costs",
        "rates",
        "robustness",
        "runs",
    ),
)
