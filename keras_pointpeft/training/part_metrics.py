"""The part metrics under the name that programs know them by."""

from keras_pointpeft.step.part_metrics import ClassMeanIoU
from keras_pointpeft.step.part_metrics import InstanceMeanIoU
from keras_pointpeft.step.part_metrics import PartIoU

__all__ = ["ClassMeanIoU", "InstanceMeanIoU", "PartIoU"]
