"""The published arithmetic in plain PyTorch: what benchmarks compare with.

Point-MAE's classifier and DAPT on it, operation by operation: the sampling
loop of eager code, neighbours from the expanded distance matrix, pointwise
convolutions over every point, attention with its matrix written out, feature
transforms as separate products and sums. Parameters have the names of the
published layout, so that weights go from one to the other.
"""

import torch
from torch import nn
from torch.nn import functional


def farthest_point_sample(points, num_samples):
    """The classic eager loop: indices `(batch, num_samples)`."""
    batch, total, _ = points.shape
    device = points.device
    distance = torch.full((batch, total), 1e10, device=device)
    chosen = torch.zeros((batch, num_samples), dtype=torch.long, device=device)
    rows = torch.arange(batch, device=device)
    last = torch.zeros(batch, dtype=torch.long, device=device)
    for i in range(num_samples):
        chosen[:, i] = last
        center = points[rows, last][:, None]
        distance = torch.minimum(distance, ((points - center) ** 2).sum(-1))
        last = distance.argmax(-1)
    return chosen


def patches(points, num_groups, group_size):
    """Centres and relative neighbourhoods of the nearest points."""
    rows = torch.arange(points.shape[0], device=points.device)[:, None]
    centers = points[rows, farthest_point_sample(points, num_groups)]
    squared = (
        -2 * centers @ points.transpose(1, 2)
        + (centers**2).sum(-1)[..., None]
        + (points**2).sum(-1)[:, None]
    )
    nearest = squared.topk(group_size, largest=False).indices
    return centers, points[rows[..., None], nearest] - centers[:, :, None]


class Affine(nn.Module):
    """A feature transform; its parameters belong to its owner."""

    def __init__(self, owner, number, dim):
        super().__init__()
        self.names = (f"tfts_gamma_{number}", f"tfts_beta_{number}")
        for name, mean in zip(self.names, (1.0, 0.0)):
            value = torch.empty(dim).normal_(mean, 0.02)
            owner.register_parameter(name, nn.Parameter(value))
        self.parts = [[getattr(owner, name) for name in self.names]]

    def forward(self, x):
        gamma, beta = self.parts[0]
        return x * gamma + beta


class PatchEncoder(nn.Module):
    def __init__(self, dim, inner):
        super().__init__()
        first, second, third = inner
        self.first_conv = nn.Sequential(
            nn.Conv1d(3, first, 1),
            nn.BatchNorm1d(first),
            nn.ReLU(),
            nn.Conv1d(first, second, 1),
        )
        self.second_conv = nn.Sequential(
            nn.Conv1d(2 * second, third, 1),
            nn.BatchNorm1d(third),
            nn.ReLU(),
            nn.Conv1d(third, dim, 1),
        )

    def forward(self, neighborhoods):
        batch, groups, size, _ = neighborhoods.shape
        x = neighborhoods.reshape(batch * groups, size, 3).transpose(1, 2)
        x = self.first_conv(x)
        whole = x.max(dim=2, keepdim=True).values
        x = torch.cat([whole.expand(-1, -1, size), x], dim=1)
        x = self.second_conv(x).max(dim=2).values
        return x.reshape(batch, groups, -1)


class DropPath(nn.Module):
    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, x):
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        kept = torch.rand((len(x), 1, 1), device=x.device) + keep
        return x / keep * kept.floor()


class Adapter(nn.Module):
    def __init__(self, dim, rank, dropout):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.adapter_layer_norm_before = nn.LayerNorm(dim)
        self.scale = nn.Linear(dim, 1)
        self.down_proj = nn.Linear(dim, rank)
        self.up_proj = nn.Linear(rank, dim)

    def forward(self, x):
        x = self.adapter_layer_norm_before(x)
        down = self.dropout(functional.gelu(self.down_proj(x)))
        up = self.up_proj(down)
        return up * functional.relu(self.scale(x))


class Attention(nn.Module):
    def __init__(self, dim, heads, transform):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)
        self.after_qkv = transform(self, 1, 3 * dim)
        self.after_proj = transform(self, 2, dim)

    def forward(self, x):
        batch, tokens, dim = x.shape
        x = self.after_qkv(self.qkv(x))
        x = x.reshape(batch, tokens, 3, self.heads, dim // self.heads)
        query, key, value = x.permute(2, 0, 3, 1, 4)
        scores = (query @ key.transpose(-2, -1)) * (dim // self.heads) ** -0.5
        x = (scores.softmax(dim=-1) @ value).transpose(1, 2)
        return self.after_proj(self.proj(x.reshape(batch, tokens, dim)))


class Mlp(nn.Module):
    def __init__(self, dim, transform):
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)
        self.after_fc1 = transform(self, 1, 4 * dim)
        self.after_fc2 = transform(self, 2, dim)

    def forward(self, x):
        x = functional.gelu(self.after_fc1(self.fc1(x)))
        return self.after_fc2(self.fc2(x))


class Block(nn.Module):
    def __init__(self, dim, heads, rank, dropout, drop_path):
        super().__init__()
        transform = no_transform if rank is None else Affine
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads, transform)
        self.mlp = Mlp(dim, transform)
        self.after_norm1 = transform(self, 1, dim)
        self.after_norm2 = transform(self, 2, dim)
        self.drop_path = DropPath(drop_path)
        self.Adapter_MLP = None
        if rank is not None:
            self.after_prompt = Affine(self, 3, dim)
            self.Adapter_MLP = Adapter(dim, rank, dropout)

    def forward(self, x):
        mixed = self.attn(self.after_norm1(self.norm1(x)))
        x = x + self.drop_path(mixed)
        y = self.after_norm2(self.norm2(x))
        if self.Adapter_MLP is None:
            return x + self.drop_path(self.mlp(y))
        adapted = self.Adapter_MLP(y)
        x = x + self.drop_path(self.mlp(y) + adapted)
        prompt = functional.gelu(adapted).mean(dim=1, keepdim=True)
        return torch.cat([x[:, :1], self.after_prompt(prompt), x[:, 1:]], 1)


class Blocks(nn.Module):
    def __init__(self, dim, depth, heads, rank, dropout, drop_path):
        super().__init__()
        rates = torch.linspace(0, drop_path, depth).tolist()
        self.blocks = nn.ModuleList(
            Block(dim, heads, rank, dropout, rate) for rate in rates
        )


class PointMAE(nn.Module):
    """The classifier; with a `rank`, DAPT's.

    Args:
        num_classes: int.
        rank: optional int. Of DAPT's adapters. Freezes what DAPT freezes.
        dropout: float. Dropout rate inside the adapters.
        drop_path: float. Stochastic depth of the last block.
    """

    def __init__(
        self,
        num_classes,
        rank=None,
        num_groups=128,
        group_size=32,
        dim=384,
        depth=12,
        heads=6,
        encoder_dims=(128, 256, 512),
        dropout=0.0,
        drop_path=0.0,
    ):
        super().__init__()
        self.rank = rank
        self.num_groups = num_groups
        self.group_size = group_size
        self.cut = patches
        self.encoder = PatchEncoder(dim, encoder_dims)
        self.pos_embed = nn.Sequential(
            nn.Linear(3, 128), nn.GELU(), nn.Linear(128, dim)
        )
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.cls_pos = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.blocks = Blocks(dim, depth, heads, rank, dropout, drop_path)
        self.norm = nn.LayerNorm(dim)
        transform = no_transform if rank is None else Affine
        self.after_patches = transform(self, 1, dim)
        self.after_norm = transform(self, 2, dim)
        self.cls_head_finetune = nn.Sequential(
            nn.Linear((2 if rank is None else 3) * dim, 256),
            nn.BatchNorm1d(256),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(256, 256),
            nn.BatchNorm1d(256),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(256, num_classes),
        )
        if rank is not None:
            for name, parameter in self.named_parameters():
                parameter.requires_grad = any(
                    part in name for part in ("cls", "tfts", "Adapter")
                )

    def forward(self, points):
        centers, near = self.cut(points, self.num_groups, self.group_size)
        tokens = self.after_patches(self.encoder(near))
        first = self.cls_token.expand(points.shape[0], -1, -1)
        x = torch.cat([first, tokens], dim=1)
        place = self.cls_pos.expand(points.shape[0], -1, -1)
        place = torch.cat([place, self.pos_embed(centers)], dim=1)
        if self.rank is not None:
            x = x + place
        for block in self.blocks.blocks:
            x = block(x if self.rank is not None else x + place)
        x = self.after_norm(self.norm(x))
        parts = [x[:, 0], x[:, -self.num_groups :].max(dim=1).values]
        if self.rank is not None:
            parts.insert(1, x[:, 1 : -self.num_groups].mean(dim=1))
        return self.cls_head_finetune(torch.cat(parts, dim=-1))


def no_transform(owner, number, dim):
    return nn.Identity()
