"""Our models against recorded outputs of the published ones."""

from keras_pointpeft import lazy

__getattr__, __dir__, __all__ = lazy.face(
    __name__, {"verify": "verification.case"}
)
