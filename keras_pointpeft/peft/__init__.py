"""Fine-tuning methods. A method knows no backbone."""

from keras_pointpeft.layers.tuner import BlockTuner
from keras_pointpeft.peft.adapter import Adapter
from keras_pointpeft.peft.adaptformer import AdaptFormer
from keras_pointpeft.peft.bitfit import BitFit
from keras_pointpeft.peft.dapt.block import DynamicAdapter
from keras_pointpeft.peft.dapt.block import InternalPrompt
from keras_pointpeft.peft.dapt.method import DAPT
from keras_pointpeft.peft.full import Full
from keras_pointpeft.peft.ga_prompt.method import GAPrompt
from keras_pointpeft.peft.gft.method import GFT
from keras_pointpeft.peft.idpt.instance_prompt import InstancePrompt
from keras_pointpeft.peft.idpt.method import IDPT
from keras_pointpeft.peft.linear_probe import LinearProbe
from keras_pointpeft.peft.lora import LoRA
from keras_pointpeft.peft.lott import LoTT
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.method import Where
from keras_pointpeft.peft.most.method import MoST
from keras_pointpeft.peft.most.monarch import MonarchLinear
from keras_pointpeft.peft.neighborhoods import GeometryAwareAdapter
from keras_pointpeft.peft.parts import BottleneckAdapter
from keras_pointpeft.peft.parts import FeatureTransform
from keras_pointpeft.peft.parts import LowRankUpdate
from keras_pointpeft.peft.point_gst.method import PointGST
from keras_pointpeft.peft.point_lora import PointLoRA
from keras_pointpeft.peft.point_peft.bank import PriorBank
from keras_pointpeft.peft.point_peft.method import PointPEFT
from keras_pointpeft.peft.point_peft.prior import PointPriorPrompt
from keras_pointpeft.peft.ppt import PPT
from keras_pointpeft.peft.prefix_tuning import PrefixTuning
from keras_pointpeft.peft.side_tuning import SideTuning
from keras_pointpeft.peft.ssf import SSF
from keras_pointpeft.peft.stag.method import STAG
from keras_pointpeft.peft.vpt import VPT

__all__ = [
    "AdaptFormer",
    "Adapter",
    "BitFit",
    "BlockTuner",
    "BottleneckAdapter",
    "DAPT",
    "DynamicAdapter",
    "FeatureTransform",
    "Full",
    "GAPrompt",
    "GFT",
    "GeometryAwareAdapter",
    "IDPT",
    "InstancePrompt",
    "InternalPrompt",
    "LinearProbe",
    "LoRA",
    "LoTT",
    "LowRankUpdate",
    "MoST",
    "MonarchLinear",
    "PPT",
    "PeftMethod",
    "PointGST",
    "PointLoRA",
    "PointPEFT",
    "PointPriorPrompt",
    "PrefixTuning",
    "PriorBank",
    "SSF",
    "STAG",
    "SideTuning",
    "VPT",
    "Where",
]
