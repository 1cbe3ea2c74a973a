"""The tensor names of Hugging Face's Mask2Former, turned into the official ones that the model has."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_PIXEL, _QUERY = "model.pixel_level_module.", "model.transformer_module."
_DECODER = "sem_seg_head.pixel_decoder."
_PREDICTOR = "sem_seg_head.predictor."

# Applied to every name from top to bottom; later rules see the outcome of earlier ones.
_RULES = [
    # ResNet
    (rf"^{_PIXEL}encoder\.embedder\.embedder\.", "backbone.stem.conv1."),
    (rf"^{_PIXEL}encoder\.encoder\.stages\.(\d)\.layers\.", lambda m: f"backbone.res{int(m[1]) + 2}."),
    (r"^(backbone.*)\.layer\.(\d)\.", lambda m: f"{m[1]}.conv{int(m[2]) + 1}."),
    (r"^(backbone.*)\.convolution\.", r"\1."),
    (r"^(backbone.*)\.normalization\.", r"\1.norm."),
    # pixel decoder
    (rf"^{_PIXEL}decoder\.level_embed$", f"{_DECODER}transformer.level_embed"),
    (rf"^{_PIXEL}decoder\.encoder\.", f"{_DECODER}transformer.encoder."),
    (rf"^{_PIXEL}decoder\.input_projections\.", f"{_DECODER}input_proj."),
    (rf"^{_PIXEL}decoder\.mask_projection\.", f"{_DECODER}mask_features."),
    (rf"^{_PIXEL}decoder\.(adapter_1|layer_1)\.0\.", rf"{_DECODER}\1."),
    (rf"^{_PIXEL}decoder\.(adapter_1|layer_1)\.1\.", rf"{_DECODER}\1.norm."),
    (rf"^({_DECODER}.*)\.self_attn_layer_norm\.", r"\1.norm1."),
    (rf"^({_DECODER}.*)\.final_layer_norm\.", r"\1.norm2."),
    (rf"^({_DECODER}.*)\.fc(\d)\.", r"\1.linear\2."),
    # video decoder
    (rf"^{_QUERY}queries_embedder\.", f"{_PREDICTOR}query_embed."),
    (rf"^{_QUERY}queries_features\.", f"{_PREDICTOR}query_feat."),
    (rf"^{_QUERY}level_embed\.", f"{_PREDICTOR}level_embed."),
    (rf"^{_QUERY}decoder\.layernorm\.", f"{_PREDICTOR}decoder_norm."),
    (rf"^{_QUERY}decoder\.mask_predictor\.mask_embedder\.(\d)\.0\.", rf"{_PREDICTOR}mask_embed.layers.\1."),
    (rf"^{_QUERY}decoder\.layers\.(\d+)\.", rf"{_PREDICTOR}layers.\1."),
    (r"\.layers\.(\d+)\.self_attn_layer_norm\.", r".transformer_self_attention_layers.\1.norm."),
    (r"^(.*predictor)\.layers\.(\d+)\.self_attn\.", r"\1.transformer_self_attention_layers.\2.self_attn."),
    (r"\.layers\.(\d+)\.cross_attn_layer_norm\.", r".transformer_cross_attention_layers.\1.norm."),
    (r"\.layers\.(\d+)\.cross_attn\.", r".transformer_cross_attention_layers.\1.multihead_attn."),
    (r"^(.*predictor)\.layers\.(\d+)\.fc(\d)\.", r"\1.transformer_ffn_layers.\2.linear\3."),
    (r"^(.*predictor)\.layers\.(\d+)\.final_layer_norm\.", r"\1.transformer_ffn_layers.\2.norm."),
    (r"^class_predictor\.", f"{_PREDICTOR}class_embed."),
]


def is_huggingface(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether the names are those of `transformers.Mask2FormerForUniversalSegmentation`.

    >>> is_huggingface({"model.transformer_module.level_embed.weight": torch.zeros(3, 8)})
    True
    """
    return any(name.startswith((_PIXEL, _QUERY)) for name in tensors)


def official_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a Hugging Face Mask2Former with a ResNet under their official names.

    The query, key and value projections of self-attention, three tensors there, become one; the counters of
    batch norm and the criterion's weights are left out.

    >>> list(official_names({"class_predictor.bias": torch.zeros(5)}))
    ['sem_seg_head.predictor.class_embed.bias']
    """
    renamed = {_official(name): tensor for name, tensor in tensors.items()}
    joined = {}
    for name, tensor in renamed.items():
        if name.endswith("num_batches_tracked") or name.startswith("criterion."):
            continue
        part = re.fullmatch(r"(.*)\.([qkv])_proj\.(weight|bias)", name)
        if part is None:
            joined[name] = tensor
        elif part[2] == "q":
            thirds = [renamed[f"{part[1]}.{letter}_proj.{part[3]}"] for letter in "qkv"]
            joined[f"{part[1]}.in_proj_{part[3]}"] = torch.cat(thirds)
    return joined


def _official(name: str) -> str:
    for pattern, replacement in _RULES:
        name = re.sub(pattern, replacement, name)
    return name
