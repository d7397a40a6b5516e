"""torch: parts of a transformer block in few calls, which keep little.

Scale and shift behind a product or a norm, with their gradients, are one
kernel of triton each on CUDA; elsewhere as few operations of PyTorch as it
takes. There they are float32 whatever the values are: there is nothing to
cast.

With a mean of 0 and a variance of 1 that stay, a batch norm is a scale for
each channel; its backward pass reads gradient and values once, and gives the
gradients of both.

A batch norm of the batch's own statistics is written down with its gradients,
which takes half the operations that PyTorch finds by itself. Its own operator,
which is one, adds up rows in float32 one after the other: too roughly for many
of them.
"""

import functools

import torch
from torch.nn import functional

from keras_pointpeft.ops import replicas
from keras_pointpeft.ops.accelerators import torch_cuda
from keras_pointpeft.ops.accelerators import torch_step

# Columns of a layer norm that fit the registers of one program of triton.
MAX_DIM = 4096
# Its kernels compute in float32.
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_SHORT = (torch.bfloat16, torch.float16)


def fits(x):
    """Whether kernels of triton are for this tensor."""
    small = x.is_cuda and x.shape[-1] <= MAX_DIM
    return small and x.dtype in DTYPES and torch_cuda.available()


@functools.cache
def kernels():
    """The module `triton_block`."""
    from keras_pointpeft.ops.accelerators import triton_block

    return triton_block


def layer_norm(x, scale, shift, epsilon):
    """As `keras_pointpeft.ops.arithmetic.layer_norm`."""
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
        or x.is_meta  # of a shape alone
    ):
        return None
    if fits(x):
        return _NormKernel.apply(x, gamma, beta, epsilon, scale, shift)
    tensors = (x, gamma, beta, scale, shift)
    if torch.is_autocast_enabled(x.device.type) or any(
        tensor.dtype != torch.float32 for tensor in tensors
    ):
        return None
    pair = torch_step.folded(gamma, beta, scale, shift)
    return functional.layer_norm(x, gamma.shape, *pair, epsilon)


class _NormKernel(torch.autograd.Function):
    """Both as one kernel, in float32 whatever the values are."""

    @staticmethod
    def forward(ctx, x, gamma, beta, epsilon, scale, shift):
        x = x.contiguous()
        y, mean, deviation = kernels().norm_forward(
            x, gamma, beta, epsilon, scale, shift
        )
        ctx.save_for_backward(x, gamma, beta, scale, mean, deviation)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        x, gamma, beta, scale, mean, deviation = ctx.saved_tensors
        to_x, sums = kernels().norm_backward(
            gradient, x, gamma, beta, scale, mean, deviation
        )
        return to_x, None, None, None, sums[0], sums[1]


def batch_norm(x, gamma, beta, mean, variance, epsilon, momentum):
    """As `keras_pointpeft.ops.arithmetic`; None where it does not suit."""
    if (
        momentum is None
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or x.is_meta
        or replicas.count() > 1
        or not x.numel()
    ):
        return None
    rows = x.reshape(-1, x.shape[-1])
    y, center, own = _BatchNorm.apply(rows, gamma, beta, epsilon)
    with torch.no_grad():
        mean = torch.lerp(mean, center, 1.0 - momentum)
        unbiased = len(rows) / max(len(rows) - 1, 1)
        share = (1.0 - momentum) * unbiased
        variance = torch.add(variance * momentum, own, alpha=share)
    return y.view(x.shape), mean, variance


class _BatchNorm(torch.autograd.Function):
    """Of rows; also gives their mean and variance, without gradients."""

    @staticmethod
    def forward(ctx, x, gamma, beta, epsilon):
        variance, mean = torch.var_mean(x, 0, correction=0)
        centered = x - mean
        inverse = (variance + epsilon).rsqrt_()
        scale = gamma * inverse
        ctx.save_for_backward(centered, inverse, scale)
        ctx.mark_non_differentiable(mean, variance)
        ctx.set_materialize_grads(False)  # theirs
        return torch.addcmul(beta, centered, scale), mean, variance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient, *_):
        centered, inverse, scale = ctx.saved_tensors
        to_beta = gradient.sum(0)
        to_gamma = (gradient * centered).sum(0).mul_(inverse)
        if not ctx.needs_input_grad[0]:
            return None, to_gamma, to_beta, None
        # The same for all rows, and with the distance from the mean: what
        # they change of mean and variance.
        shared = torch.addcmul(to_beta, centered, to_gamma * inverse)
        to_x = torch.add(gradient, shared, alpha=-1 / len(centered))
        return to_x.mul_(scale), to_gamma, to_beta, None


def affine(x, scale, shift):
    """As `keras_pointpeft.ops.arithmetic.affine`."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        # Of which exporters make one operation.
        return x * scale.to(x.dtype) + shift.to(x.dtype)
    if torch.is_grad_enabled() or fits(x):
        return _Affine.apply(x, scale, shift, False)
    return torch.addcmul(shift.to(x.dtype), x, scale.to(x.dtype))


def affine_gelu(x, scale, shift):
    """The exact GELU of `affine`, of which backward keeps `x` alone."""
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return functional.gelu(affine(x, scale, shift))
    return _Affine.apply(x, scale, shift, True)


class _Affine(torch.autograd.Function):
    """`x * scale + shift`, or the GELU of it; backward keeps `x` alone."""

    @staticmethod
    def forward(ctx, x, scale, shift, gelu):
        x = x.contiguous()
        ctx.save_for_backward(x, scale, shift)
        ctx.gelu = gelu
        if not fits(x):
            y = torch.addcmul(shift.to(x.dtype), x, scale.to(x.dtype))
            return torch.ops.aten.gelu.out(y, out=y) if gelu else y
        return kernels().affine_forward(x, scale, shift, gelu)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        x, scale, shift = ctx.saved_tensors
        if fits(x):
            to_x, (of_scale, of_shift) = kernels().affine_backward(
                gradient, x, scale, shift, ctx.gelu
            )
            kind = scale.dtype
            return to_x, of_scale.to(kind), of_shift.to(kind), None
        factor = scale.to(x.dtype)
        if ctx.gelu:
            inner = torch.addcmul(shift.to(x.dtype), x, factor)
            torch.ops.aten.gelu_backward.grad_input(
                gradient, inner, grad_input=inner
            )
            gradient = inner
        wanted = ctx.needs_input_grad[:3]
        if is_one_operation(x, scale):
            rows, width = x.shape[:-1].numel(), x.shape[-1]
            to_x, *found = scaled_backward(
                gradient.reshape(rows, width),
                x.view(rows, width),
                scale,
                wanted,
            )
            return to_x if to_x is None else to_x.view(x.shape), *found, None
        of_x, of_scale, of_shift = wanted

        def over_rows(values):
            # A sum over no axes would be one over all: x may be one token.
            return values.reshape(-1, x.shape[-1]).sum(0, dtype=scale.dtype)

        product = over_rows(gradient * x) if of_scale else None
        shifted = over_rows(gradient) if of_shift else None
        if not of_x:
            return None, product, shifted, None
        # In place, for what is as wide as an MLP: a block has nothing larger.
        to_x = gradient.mul_(factor) if ctx.gelu else gradient * factor
        return to_x, product, shifted, None


def add_scaled(x, y, scale):
    """As `keras_pointpeft.ops.arithmetic.add_scaled`."""
    if (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or scale.requires_grad
    ):
        return x + y * scale
    return _AddScaled.apply(x, y, scale)


class _AddScaled(torch.autograd.Function):
    """Without a gradient of the scale, and so without `y` kept for it."""

    @staticmethod
    def forward(ctx, x, y, scale):
        ctx.save_for_backward(scale)
        return torch.addcmul(x, y, scale)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        (scale,) = ctx.saved_tensors
        to_y = gradient * scale if ctx.needs_input_grad[1] else None
        return gradient, to_y, None


def split_at(x, places):
    """As `keras_pointpeft.ops.arithmetic.split_at`."""
    ends = (0, *places, x.shape[1])
    return torch.split(x, [j - i for i, j in zip(ends, ends[1:])], dim=1)


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


def dynamic_adapter(x, norm, scale, down, up, gate, rate, leak):
    """As `keras_pointpeft.ops.arithmetic`; None where it does not suit."""
    *affine, epsilon = norm
    tensors = (*affine, *scale, *down, *up)
    if (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or not torch.is_grad_enabled()
        or torch.is_autocast_enabled(x.device.type)
        or any(t.dtype != x.dtype for t in tensors)
    ):
        return None
    rows = x.reshape(-1, x.shape[-1])
    if gate is not None:
        gate = gate.reshape(-1, gate.shape[-1])
    share = 1.0 if gate is None else 1.0 / (1.0 - rate)
    rows = _DynamicAdapter.apply(rows, *tensors, gate, share, epsilon, leak)
    return rows.view(x.shape)


class _DynamicAdapter(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, x, gamma, beta, scale, scale_bias, down, down_bias, up, up_bias,
        gate, share, epsilon, leak,
    ):  # fmt: skip
        normed, mean, deviation = torch.native_layer_norm(
            x, gamma.shape, gamma, beta, epsilon
        )
        inner = torch.addmm(down_bias, normed, down)
        factor = torch._addmm_activation(scale_bias, normed, scale)
        if gate is not None:
            torch.minimum(inner, gate, out=inner)
        hidden = functional.gelu(inner)
        ctx.share, ctx.epsilon, ctx.leak = share, epsilon, leak
        ctx.save_for_backward(
            x, mean, deviation, inner, factor,
            # In the gate's place, which need not be kept.
            None if gate is None else hidden,
            gamma, beta, scale, down, up, up_bias,
        )  # fmt: skip
        return torch.addmm(up_bias, hidden, up, alpha=share).mul_(factor)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        (
            x, mean, deviation, inner, factor, hidden,
            gamma, beta, scale, down, up, up_bias,
        ) = ctx.saved_tensors  # fmt: skip
        normed = functional.layer_norm(x, gamma.shape, gamma, beta, ctx.epsilon)
        if hidden is None:
            hidden = functional.gelu(inner)

        def product(a, b):
            # What is added to it, times 0, is of the right type.
            return torch.addmm(up_bias[:1], a, b, beta=0, alpha=ctx.share)

        of_hidden = product(gradient, up.t())
        of_hidden, of_factor = _rows_backward(of_hidden, hidden, factor)
        of_factor = torch.addmv(of_factor, gradient, up_bias)[:, None]
        of_factor = torch.ops.aten.leaky_relu_backward(
            of_factor, factor, ctx.leak, False
        )
        of_up_bias = gradient.t() @ factor[:, 0]
        of_up = product((hidden * factor).t(), gradient)
        of_inner = torch.ops.aten.gelu_backward(of_hidden, inner)
        of_normed = torch.addmm(of_factor @ scale.t(), of_inner, down.t())
        of_x, of_gamma, of_beta = torch.ops.aten.native_layer_norm_backward(
            of_normed, x, gamma.shape, mean, deviation, gamma, beta,
            ctx.needs_input_grad[:3],
        )  # fmt: skip
        return (
            of_x, of_gamma, of_beta,
            normed.t() @ of_factor, of_factor.sum(0),
            normed.t() @ of_inner, of_inner.sum(0),
            of_up, of_up_bias,
            None, None, None, None,
        )  # fmt: skip


def _rows_backward(gradient, x, scale):
    """Gradients of `x * scale`, with one scale in every row."""
    if is_one_operation(x, scale):
        to_x, to_scale, _ = scaled_backward(
            gradient[None], x[None], scale[:, 0], (True, True, False)
        )
        return to_x[0], to_scale
    return gradient * scale, (gradient * x).sum(1)


def scaled_backward(gradient, x, scale, wanted, divisor=1):
    """Gradients of `x * scale + shift`, with one of each in every channel.

    Args:
        gradient: tensor `(rows, channels)` or `(1, channels, columns)`.
        x: likewise.
        scale: tensor `(channels,)`.
        wanted: tuple of bools, which of the three gradients there should be.
        divisor: int. What `x` is divided by first.

    Returns:
        tuple of tensors, those of `x`, of `scale` and of `shift`, None for
        what is not wanted.
    """
    mean = _constant(0, len(scale), scale.dtype)
    variance = _constant(divisor**2, len(scale), scale.dtype)
    return torch.ops.aten.native_batch_norm_backward(
        gradient, x, scale, mean, variance, mean, variance, False, 0.0, wanted
    )


def pooled(x, scale, shift):
    """As `keras_pointpeft.ops.arithmetic`; None where it does not suit."""
    if (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or not torch.is_grad_enabled()
        or x.is_meta
        # Where a sum over tokens is no number of their type, a mean may be.
        or x.dtype in _SHORT
        or not is_one_operation(x, scale)
    ):
        return None
    return _Pooled.apply(x, scale, shift)


class _Pooled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, shift):
        total = functional.gelu(x).sum(1, keepdim=True)
        ctx.save_for_backward(x, total, scale)
        return torch.addcmul(shift, total, scale, value=1 / x.shape[1])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        x, total, scale = ctx.saved_tensors
        to_total, *found = scaled_backward(
            gradient[:, 0], total[:, 0], scale, (True, True, True), x.shape[1]
        )
        to_x = to_total[:, None].expand(x.shape)
        return torch.ops.aten.gelu_backward(to_x, x), *found


def is_one_operation(x, scale):
    """Whether `scaled_backward` is for them."""
    kinds = (x.dtype, torch.float32 if x.dtype in _SHORT else x.dtype)
    return (
        # A fake one would leave a fake constant behind.
        type(x) is torch.Tensor
        and x.device.type == "cpu"
        and scale.dtype in kinds
        and x.numel() > 0
    )


@functools.cache
def _constant(value, count, dtype):
    """Each in a place of its own, for the operation minds no strides."""
    return torch.full((count,), float(value), dtype=dtype, device="cpu")
