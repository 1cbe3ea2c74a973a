"""The video decoder: queries that look at all frames at once, each only where its own mask is."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskfree_nb.model.config import ModelConfig
from maskfree_nb.model.pixel_decoder import LEVELS, resize
from maskfree_nb.model.position import position_3d


class Prediction(NamedTuple):
    """What the heads say of every query."""

    logits: Tensor  # [B, Q, C + 1] classes, no-object last
    masks: Tensor  # [B, Q, T, h, w] logits


class Attention(nn.Module):
    """Multi-head attention with one input projection for queries, keys and values."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(3 * dim, dim)))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, blocked: Tensor | None = None) -> Tensor:
        """Attend from `query` [B, Q, C] to `key` and `value` [B, K, C], but not where `blocked` [B, Q, K]."""
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        q, k, v = (
            F.linear(x, weight, bias).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, M, ., D]
            for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
        )
        allowed = None if blocked is None else ~blocked[:, None]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        return self.out_proj(out.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Three linear layers with ReLU between."""

    def __init__(self, dim: int, dim_out: int):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim_out)])

    def forward(self, x: Tensor) -> Tensor:
        first, second, last = self.layers
        return last(F.relu(second(F.relu(first(x)))))


class VideoDecoder(nn.Module):
    """Mask2Former's masked-attention decoder over the T * h * w pixels of a clip (arXiv 2112.10764)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        dim, heads, layers = config.hidden_dim, config.heads, range(config.decoder_layers)

        def attention_layers(name: str) -> nn.ModuleList:
            return nn.ModuleList(
                nn.ModuleDict({name: Attention(dim, heads), "norm": nn.LayerNorm(dim)}) for _ in layers
            )

        self.transformer_self_attention_layers = attention_layers("self_attn")
        self.transformer_cross_attention_layers = attention_layers("multihead_attn")
        self.transformer_ffn_layers = nn.ModuleList(
            nn.ModuleDict({
                "linear1": nn.Linear(dim, config.decoder_ffn),
                "linear2": nn.Linear(config.decoder_ffn, dim),
                "norm": nn.LayerNorm(dim),
            })
            for _ in layers
        )  # fmt: skip
        for layer in self.transformer_ffn_layers:
            nn.init.xavier_uniform_(layer["linear1"].weight)
            nn.init.xavier_uniform_(layer["linear2"].weight)
        self.decoder_norm = nn.LayerNorm(dim)
        self.query_feat = nn.Embedding(config.num_queries, dim)  # what a query starts as
        self.query_embed = nn.Embedding(config.num_queries, dim)  # its position
        self.level_embed = nn.Embedding(len(LEVELS), dim)
        self.class_embed = nn.Linear(dim, config.num_classes + 1)
        self.mask_embed = MLP(dim, config.mask_dim)

    def forward(self, levels: list[Tensor], mask_features: Tensor) -> list[Prediction]:
        """Return the predictions of the learnt queries and those after each layer, in this order.

        Args:
            levels: three maps [B, T, C, h, w], coarse to fine.
            mask_features: [B, T, mask_dim, h, w].
        """
        B = mask_features.shape[0]
        memory, positions = [], []
        for level, embed in zip(levels, self.level_embed.weight, strict=True):
            _, T, C, h, w = level.shape
            memory.append(tokens(level) + embed)  # [B, T*h*w, C]
            positions.append(tokens(position_3d(T, h, w, C, level.device)[None]))
        queries = self.query_feat.weight.expand(B, -1, -1)  # [B, Q, C]
        query_position = self.query_embed.weight
        mask_features = mask_features.transpose(1, 2).contiguous()  # [B, mask_dim, T, h, w]
        predictions = [self.predict(queries, mask_features)]
        layers = zip(
            self.transformer_cross_attention_layers,
            self.transformer_self_attention_layers,
            self.transformer_ffn_layers,
            strict=True,
        )
        for i, (cross, own, ffn) in enumerate(layers):
            level = i % len(LEVELS)
            keys, values = memory[level] + positions[level], memory[level]
            blocked = blocked_keys(predictions[-1].masks, levels[level].shape[-2:])
            blocked = blocked & ~blocked.all(-1, keepdim=True)  # a query with no mask looks everywhere
            read = cross["multihead_attn"](queries + query_position, keys, values, blocked)
            queries = cross["norm"](queries + read)
            placed = queries + query_position
            queries = own["norm"](queries + own["self_attn"](placed, placed, queries))
            queries = ffn["norm"](queries + ffn["linear2"](F.relu(ffn["linear1"](queries))))
            predictions.append(self.predict(queries, mask_features))
        return predictions

    def predict(self, queries: Tensor, mask_features: Tensor) -> Prediction:
        """Apply the class and the mask head; the masks' product keeps full precision under autocast.

        Args:
            queries: [B, Q, C].
            mask_features: [B, mask_dim, T, h, w].
        """
        queries = self.decoder_norm(queries)
        logits, embedding = self.class_embed(queries), self.mask_embed(queries)
        with torch.autocast(queries.device.type, enabled=False):
            dtype = self.decoder_norm.weight.dtype
            masks = torch.einsum("bqc,bcthw->bqthw", embedding.to(dtype), mask_features.to(dtype))
        return Prediction(logits, masks)


def tokens(maps: Tensor) -> Tensor:
    """Put the pixels of maps [B, T, C, h, w] in a row: [B, T*h*w, C], in the order (t, y, x)."""
    return maps.permute(0, 1, 3, 4, 2).flatten(1, 3)


@torch.no_grad()
def blocked_keys(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Return which pixels of a level a query may not attend to: where its mask, resized, is below 0.5.

    Mask2Former, equation 2 of arXiv 2112.01527: the attention mask is -inf where the last layer's mask is 0.

    Args:
        masks: [B, Q, T, H, W] logits.
        size: (h, w) of the level.

    Returns:
        bool [B, Q, T*h*w], keys in the order (t, y, x).

    >>> masks = torch.tensor([[-1.0, -1.0, 5.0, 5.0]]).view(1, 1, 1, 1, 4)
    >>> blocked_keys(masks, (1, 2))
    tensor([[[ True, False]]])
    """
    return resize(masks.flatten(1, 2), size).unflatten(1, masks.shape[1:3]).flatten(2) < 0
