"""GFT: graph features in later layers (WACV 2026)."""

from keras_pointpeft.peft.gft.method import GFT

__all__ = ["GFT"]
