"""torch: parts of a transformer block in few calls, which keep little."""

import torch
from torch.nn import functional

from keras_pointpeft.ops.accelerators import torch_fused


def layer_norm(x, scale, shift, epsilon):
    """As `keras_pointpeft.ops.channelwise.layer_norm`."""
    if x.dtype == torch.float32:
        return functional.layer_norm(x, scale.shape, scale, shift, epsilon)
    wide = functional.layer_norm(
        x.float(), scale.shape, scale.float(), shift.float(), epsilon
    )
    return wide.to(x.dtype)


def layer_norm_affine(x, gamma, beta, epsilon, scale, shift):
    """A layer norm, then `affine`; None where it does not suit."""
    if (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or gamma.requires_grad
        or beta.requires_grad
        or not torch_fused.fits(x)
    ):
        return None
    return torch_fused.norm(x, gamma, beta, epsilon, scale, shift)


def affine(x, scale, shift):
    """As `keras_pointpeft.ops.channelwise.affine`."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        # Of which exporters make one operation.
        return x * scale.to(x.dtype) + shift.to(x.dtype)
    if torch.is_grad_enabled() or torch_fused.fits(x):
        return torch_fused.affine(x, scale, shift)
    return torch.addcmul(shift.to(x.dtype), x, scale.to(x.dtype))


def affine_gelu(x, scale, shift):
    """The exact GELU of `affine`, of which backward keeps `x` alone."""
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return functional.gelu(affine(x, scale, shift))
    return torch_fused.affine(x, scale, shift, gelu=True)


def attention(query, key, value, is_causal, scale):
    """As `keras_pointpeft.ops.arithmetic`, without copies of its inputs."""
    mixed = functional.scaled_dot_product_attention(
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        is_causal=is_causal,
        scale=scale,
    )
    return mixed.transpose(1, 2)
