"""What onnxruntime-genai reads beside a file: `genai_config.json`.

https://onnxruntime.ai/docs/genai/reference/config.html
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fxonnx.compiled import Compiled

_NAMES = {"input_ids": "input_ids", "attention_mask": "attention_mask", "position_ids": "position_ids"}


def write_config(folder: Path, config: Any, generation: Any, compiled: Compiled) -> None:
    """Write `genai_config.json` for a decoder's `model.onnx` into a folder."""
    text = config.get_text_config(decoder=True)
    heads = text.num_attention_heads
    inputs = {each.name for each in compiled.program.inputs}
    names = {key: name for key, name in _NAMES.items() if name in inputs}
    decoder = {
        "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
        "filename": "model.onnx",
        "head_size": getattr(text, "head_dim", None) or text.hidden_size // heads,
        "hidden_size": text.hidden_size,
        "inputs": {
            **names, "past_key_names": "past_key_values.%d.key", "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {
            "logits": "logits", "present_key_names": "present.%d.key", "present_value_names": "present.%d.value",
        },
        "num_attention_heads": heads,
        "num_hidden_layers": text.num_hidden_layers,
        "num_key_value_heads": getattr(text, "num_key_value_heads", None) or heads,
    }  # fmt: skip
    length = getattr(text, "max_position_embeddings", None) or 2048
    whole = {
        "model": {
            "type": "decoder",
            "bos_token_id": _first(generation.bos_token_id, 0),
            "eos_token_id": generation.eos_token_id if generation.eos_token_id is not None else 0,
            "pad_token_id": _first(generation.pad_token_id, _first(generation.eos_token_id, 0)),
            "context_length": length,
            "vocab_size": text.vocab_size,
            "decoder": decoder,
        },
        "search": {"max_length": length, "past_present_share_buffer": False},
    }
    (folder / "genai_config.json").write_text(json.dumps(whole, indent=4) + "\n")


def _first(token: Any, otherwise: int) -> int:
    """A token id, the first of several, or another where there is none."""
    if isinstance(token, (list, tuple)):
        return int(token[0])
    return otherwise if token is None else int(token)
