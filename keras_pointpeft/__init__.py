"""Parameter-efficient fine-tuning of point-cloud transformers in Keras 3."""

from keras_pointpeft import lazy
from keras_pointpeft.registered import register
from keras_pointpeft.version import __version__

# Imported on first use: models bring keras-hub, which is slow to import.
__getattr__, __dir__, __all__ = lazy.face(
    __name__,
    {
        "from_adapter": "presets",
        "from_preset": "presets",
        "list_presets": "presets",
        "predict_files": "experiments",
        "step_report": "step",
    },
    (
        "adapters",
        "checkpoints",
        "commands",
        "data",
        "experiments",
        "layers",
        "models",
        "ops",
        "peft",
        "presets",
        "reports",
        "training",
    ),
)
__all__ += ["__version__"]

register()
