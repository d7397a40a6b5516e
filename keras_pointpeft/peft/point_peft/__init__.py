"""Point-PEFT: point-prior prompts and geometry-aware adapters (AAAI 2024)."""

from keras_pointpeft.peft.point_peft.bank import PriorBank
from keras_pointpeft.peft.point_peft.method import PointPEFT
from keras_pointpeft.peft.point_peft.prior import PointPriorPrompt

__all__ = ["PointPEFT", "PointPriorPrompt", "PriorBank"]
