"""Fine-tuning methods. A method knows no backbone."""

from keras_pointpeft.peft.bitfit import BitFit
from keras_pointpeft.peft.dapt import DAPT
from keras_pointpeft.peft.dapt import DynamicAdapter
from keras_pointpeft.peft.dapt import FeatureTransform
from keras_pointpeft.peft.dapt import InternalPrompt
from keras_pointpeft.peft.full import Full
from keras_pointpeft.peft.geometry_aware_adapter import GeometryAwareAdapter
from keras_pointpeft.peft.linear_probe import LinearProbe
from keras_pointpeft.peft.method import BlockTuner
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.point_peft import PointPEFT
from keras_pointpeft.peft.point_prior_prompt import PointPriorPrompt
from keras_pointpeft.peft.prior_bank import PriorBank
from keras_pointpeft.peft.side_tuning import SideTuning

__all__ = [
    "BitFit",
    "BlockTuner",
    "DAPT",
    "DynamicAdapter",
    "FeatureTransform",
    "Full",
    "GeometryAwareAdapter",
    "InternalPrompt",
    "LinearProbe",
    "PeftMethod",
    "PointPEFT",
    "PointPriorPrompt",
    "PriorBank",
    "SideTuning",
]
