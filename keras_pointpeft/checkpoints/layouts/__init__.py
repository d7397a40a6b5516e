"""Names and layouts of published files, a file for each backbone and method.

Importing this registers all of them; see `registry`.
"""
# ruff: noqa: F401

from keras_pointpeft.checkpoints.layouts import act
from keras_pointpeft.checkpoints.layouts import classifier
from keras_pointpeft.checkpoints.layouts import dapt
from keras_pointpeft.checkpoints.layouts import ga_prompt
from keras_pointpeft.checkpoints.layouts import gft
from keras_pointpeft.checkpoints.layouts import idpt
from keras_pointpeft.checkpoints.layouts import most
from keras_pointpeft.checkpoints.layouts import pcp_mae
from keras_pointpeft.checkpoints.layouts import point_bert
from keras_pointpeft.checkpoints.layouts import point_gpt
from keras_pointpeft.checkpoints.layouts import point_gst
from keras_pointpeft.checkpoints.layouts import point_lora
from keras_pointpeft.checkpoints.layouts import point_m2ae
from keras_pointpeft.checkpoints.layouts import point_mae
from keras_pointpeft.checkpoints.layouts import point_peft
from keras_pointpeft.checkpoints.layouts import point_pqae
from keras_pointpeft.checkpoints.layouts import ppt
from keras_pointpeft.checkpoints.layouts import pretraining
from keras_pointpeft.checkpoints.layouts import recon
from keras_pointpeft.checkpoints.layouts import segmentation
from keras_pointpeft.checkpoints.layouts import side_tuning
from keras_pointpeft.checkpoints.layouts import stag
from keras_pointpeft.checkpoints.layouts import vpt
from keras_pointpeft.checkpoints.layouts.registry import Layout
from keras_pointpeft.checkpoints.layouts.registry import Source
from keras_pointpeft.checkpoints.layouts.registry import layout_of
