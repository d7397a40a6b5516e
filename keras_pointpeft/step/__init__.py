"""What a training step is: losses, metrics, the optimizer."""
