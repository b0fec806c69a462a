"""What onnxruntime-genai reads beside a file: `genai_config.json`.

https://onnxruntime.ai/docs/genai/reference/config.html
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fxonnx.compiled import Compiled

_NAMES = {"input_ids": "input_ids", "attention_mask": "attention_mask", "position_ids": "position_ids"}
AUDIO = "audio_features"
"""What a file calls the features of speech: the processor gives them under this name."""


def write_config(folder: Path, config: Any, generation: Any, compiled: Compiled, *, shared: bool) -> None:
    """Write `genai_config.json` for a decoder's `model.onnx` into a folder; `shared`: its cache has room for more."""
    text = config.get_text_config(decoder=True)
    inputs = {each.name for each in compiled.program.inputs}
    names = {key: name for key, name in _NAMES.items() if name in inputs}
    decoder = {
        **_sizes("model.onnx", text, text.num_attention_heads, text.num_hidden_layers),
        "inputs": {**names, **_pairs("past_{}_names", "past_key_values.%d.{}")},
        "outputs": {"logits": "logits", **_pairs("present_{}_names", "present.%d.{}")},
    }
    length = getattr(text, "max_position_embeddings", None) or 2048
    model = {"type": "decoder", **_tokens(generation, length, text.vocab_size), "decoder": decoder}
    _write(folder, model, length, shared)


def write_speech_config(folder: Path, config: Any, generation: Any) -> None:
    """Write `genai_config.json` for a Whisper's `encoder_model.onnx` and `decoder_model.onnx` into a folder."""
    encoder = {
        **_sizes("encoder_model.onnx", config, config.encoder_attention_heads, config.encoder_layers),
        "inputs": {AUDIO: AUDIO},
        "outputs": {
            "encoder_hidden_states": "encoder_hidden_states",
            **_pairs("cross_present_{}_names", "present.%d.encoder.{}"),
        },
    }
    decoder = {
        **_sizes("decoder_model.onnx", config, config.decoder_attention_heads, config.decoder_layers),
        "inputs": {
            "input_ids": "decoder_input_ids",
            **_pairs("past_{}_names", "past_key_values.%d.decoder.{}"),
            **_pairs("cross_past_{}_names", "past_key_values.%d.encoder.{}"),
        },
        "outputs": {"logits": "logits", **_pairs("present_{}_names", "present.%d.decoder.{}")},
    }
    length = config.max_target_positions
    tokens = _tokens(generation, length, config.vocab_size)
    _write(folder, {"type": "whisper", **tokens, "encoder": encoder, "decoder": decoder}, length)


def _sizes(file: str, config: Any, heads: int, layers: int) -> dict[str, Any]:
    """What is said of any of the files."""
    return {
        "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
        "filename": file,
        "head_size": getattr(config, "head_dim", None) or config.hidden_size // heads,
        "hidden_size": config.hidden_size,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": getattr(config, "num_key_value_heads", None) or heads,
    }


def _pairs(key: str, name: str) -> dict[str, str]:
    """The entries that name keys and values, %d standing for the layer."""
    return {key.format(word): name.format(word) for word in ("key", "value")}


def _tokens(generation: Any, length: int, vocabulary: int) -> dict[str, Any]:
    """The tokens that begin, end and pad, and how many there may be."""
    end = generation.eos_token_id
    return {
        "bos_token_id": _first(generation.bos_token_id, 0),
        "eos_token_id": 0 if end is None else end,
        "pad_token_id": _first(generation.pad_token_id, _first(end, 0)),
        "context_length": length,
        "vocab_size": vocabulary,
    }


def _write(folder: Path, model: dict[str, Any], length: int, shared: bool = False) -> None:
    whole = {"model": model, "search": {"max_length": length, "past_present_share_buffer": shared}}
    (folder / "genai_config.json").write_text(json.dumps(whole, indent=4) + "\n")


def _first(token: Any, otherwise: int) -> int:
    """A token id, the first of several, or another where there is none."""
    if isinstance(token, (list, tuple)):
        return int(token[0])
    return otherwise if token is None else int(token)
