"""IDPT: instance-aware dynamic prompts (ICCV 2023)."""

from keras_pointpeft.peft.idpt.method import IDPT

__all__ = ["IDPT"]
