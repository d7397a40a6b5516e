"""GAPrompt: geometry-aware point cloud prompts (ICML 2025)."""

from keras_pointpeft.peft.ga_prompt.method import GAPrompt

__all__ = ["GAPrompt"]
