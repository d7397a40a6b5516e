"""A tuner that remembers what passes through it."""


class Watch:
    """Passes everything on to a `BlockTuner` and keeps what goes by.

    Args:
        tuner: the `keras_pointpeft.peft.BlockTuner`.

    Attributes:
        qkv: what the attention was made of, or None.
        mask: the attention mask, prompts included, or None.
        normalized: the tokens that the attention read.
        mlp_tokens: what `beside_mlp` got.
    """

    def __init__(self, tuner):
        self.tuner = tuner
        self.qkv = None
        self.mask = None
        self.normalized = None
        self.mlp_tokens = None

    def __getattr__(self, name):
        return getattr(self.tuner, name)

    def allow(self, mask, num_tokens):
        self.mask = self.tuner.allow(mask, num_tokens)
        return self.mask

    def modulate(self, site, x):
        x = self.tuner.modulate(site, x)
        if site == "norm1":
            self.normalized = x
        elif site == "qkv":
            self.qkv = x
        return x

    def beside_mlp(self, x, training):
        self.mlp_tokens = x
        return self.tuner.beside_mlp(x, training)
