"""STAG: a graph network beside the backbone (2025)."""

from keras_pointpeft.peft.stag.method import STAG

__all__ = ["STAG"]
