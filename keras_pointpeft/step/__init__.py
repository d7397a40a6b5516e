"""What a training step is and how it runs: losses, optimizer, CUDA graphs."""

from keras_pointpeft.step.running import step_report

__all__ = ["step_report"]
