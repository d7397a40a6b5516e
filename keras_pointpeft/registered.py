"""Lets Keras load saved models after `import keras_pointpeft` alone.

Keras knows classes that have been imported. This package imports hardly
anything by itself, so it says which names it has, and imports what they stand
for when a file asks for one.
"""

import importlib
import importlib.abc
import importlib.util
import sys

PACKAGE = "keras_pointpeft"
# Modules, and the classes that they register with Keras.
TABLE = """
layers.basic: Linear LayerNormalization BatchNorm Dropout DropPath
layers.chain_order: ChainOrder
layers.contrast_tokens: ContrastTokens
layers.feature_propagation: FeaturePropagation
layers.graph_propagation: GraphPropagation
layers.heads: ClassTokens SplitTokens TokenPooling ClassificationHead
layers.near_mask: NearMask
layers.patches: PointPatches PatchEncoder PatchChannels PositionMLP
    CodedPositionMLP SinePosition
layers.point_generator: PointGenerator
layers.point_head: CategoryEmbedding CategoryTable PointHead
layers.token_decoder: BranchDropout TokenDecoder
layers.token_propagation: TokenPropagation
layers.transformer_block: TransformerBlock
models.point_gpt: PointGPTBackbone
models.point_m2ae: PointM2AEBackbone
models.point_mae: PCPMAEBackbone PointMAEBackbone ACTBackbone PointBERTBackbone
    PointPQAEBackbone
models.pretraining.center_predicting_autoencoder: CenterPredictingAutoencoder
models.pretraining.generative_pretrainer: GenerativePretrainer
models.pretraining.hierarchical_masked_autoencoder:
    HierarchicalMaskedAutoencoder
models.pretraining.masked_autoencoder: MaskedAutoencoder
models.recon: ReConBackbone
models.tasks.classifier: PointCloudClassifier
models.tasks.part_segmenter: PartSegmenter
models.tasks.semantic_segmenter: SemanticSegmenter
models.trunk: FrozenPass
ops.points: PointOperation
peft.adapter: AdapterTuner Adapter
peft.adaptformer: AdaptFormerTuner AdaptFormer
peft.bitfit: BitFit
peft.dapt.block: DAPTTuner DynamicAdapter InternalPrompt
peft.dapt.method: DAPT
peft.full: Full
peft.ga_prompt.block: GAPromptTuner
peft.ga_prompt.method: GAPrompt
peft.ga_prompt.prompt_geometry: PromptGeometry
peft.ga_prompt.shift_prompter: SetAbstraction ShiftPrompter
peft.gft.cross_attention: GraphAttention GraphTuner
peft.gft.graph_feature: GraphFeature
peft.gft.method: GFT
peft.gft.prompts: InputPrompts
peft.idpt.insertion: PromptInsertion PromptPosition
peft.idpt.instance_prompt: InstancePrompt
peft.idpt.method: IDPT
peft.linear_probe: LinearProbe
peft.lora: LoRA
peft.lott: LoTT ViewAgreement
peft.most.block: MoSTTuner
peft.most.fusion: BlockFusion
peft.most.method: MoST
peft.most.monarch: MonarchLinear
peft.most.neighbor_graph: NeighborGraph
peft.neighborhoods: GeometryAwareAdapter PatchNeighborhoods EdgeConv
peft.parts: BottleneckAdapter LowRankUpdate LoRATuner FeatureTransform
    SiteTransforms
peft.point_gst.block: SpectralAdapter PointGSTTuner
peft.point_gst.method: PointGST
peft.point_gst.spectral_basis: SpectralBasis
peft.point_lora: MaskPredictor TokenSelection PointLoRATuner PointLoRA
peft.point_peft.block: LocalAttention TokenNeighborhoods NormDelta
    PointPEFTTuner
peft.point_peft.method: PointPEFT
peft.point_peft.prior: PriorQuery PointPriorPrompt
peft.ppt: PatchPrompts PPTTuner PPT
peft.prefix_tuning: PrefixTuner PrefixTuning
peft.side_tuning: SideNetwork SideTuning
peft.ssf: SSF
peft.stag.beside_block: TokenSum SideStep Displacement AsBeforeNorm
peft.stag.method: STAG
peft.stag.side_graph: GraphStep SideGraph
peft.vpt: PromptTuner VPT
step.iou: MeanIoU InstanceMeanIoU ClassMeanIoU
step.losses: SmoothedCrossentropy WeightedCrossentropy PointAccuracy
step.optimizer: Adam AdamW TwiceAdamW
training.schedule: CosineOfUpdates
"""
MODULES = {}
for _word in TABLE.split():
    if _word.endswith(":"):
        _module = _word[:-1]
    else:
        MODULES[_word] = _module


class _StandIn:
    """A class before it is imported: all that Keras does is ask for one."""

    @classmethod
    def from_config(cls, config):
        importlib.import_module(f"{PACKAGE}.{MODULES[cls.__name__]}")
        registry = sys.modules["keras"].saving.get_custom_objects()
        return registry[f"{PACKAGE}>{cls.__name__}"].from_config(config)


class _OnceKerasComes(importlib.abc.MetaPathFinder):
    """Registers the stand-ins right after somebody has imported Keras."""

    def find_spec(self, name, path=None, target=None):
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module):
                execute(module)
                _register(module)

            spec.loader.exec_module = execute_and_register
        return spec


def _register(keras):
    registry = keras.saving.get_custom_objects()
    for name in MODULES:
        stand_in = type(name, (_StandIn,), {"__module__": __name__})
        registry.setdefault(f"{PACKAGE}>{name}", stand_in)


def register():
    """Makes all classes known to Keras, now or once it is imported."""
    if "keras" in sys.modules:
        _register(sys.modules["keras"])
    else:
        sys.meta_path.insert(0, _OnceKerasComes())
