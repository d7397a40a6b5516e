"""MoST: structured sparse updates beside attention (CVPR 2025)."""

from keras_pointpeft.peft.most.method import MoST
from keras_pointpeft.peft.most.monarch import MonarchLinear

__all__ = ["MoST", "MonarchLinear"]
