"""DAPT: dynamic adapters and internal prompts (CVPR 2024)."""

from keras_pointpeft.peft.dapt.dynamic_adapter import DynamicAdapter
from keras_pointpeft.peft.dapt.internal_prompt import InternalPrompt
from keras_pointpeft.peft.dapt.method import DAPT

__all__ = ["DAPT", "DynamicAdapter", "InternalPrompt"]
