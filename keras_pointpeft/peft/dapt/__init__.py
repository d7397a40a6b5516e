"""DAPT: dynamic adapters and internal prompts (CVPR 2024)."""

from keras_pointpeft.peft.dapt.block import DynamicAdapter
from keras_pointpeft.peft.dapt.block import InternalPrompt
from keras_pointpeft.peft.dapt.method import DAPT

__all__ = ["DAPT", "DynamicAdapter", "InternalPrompt"]
