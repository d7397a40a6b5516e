"""Pre-training of backbones on clouds without labels."""
