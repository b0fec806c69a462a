"""The two programs of a model with an encoder: what reads once, and what is run for every token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, EncoderDecoderCache
from transformers.utils import ModelOutput

from fxonnx.hf.caches import filled


class Encoder(nn.Module):
    """What the encoder makes of its input: states f32[batch, encoder_sequence, width], and of them the keys and values
    of each layer's cross-attention, f32[batch, heads, encoder_sequence, size], a pair in turn.

    `outputs` is the class of what the model's encoder returns.
    """

    def __init__(self, model: Any, outputs: type[ModelOutput]) -> None:
        super().__init__()
        self.model, self.outputs = model, outputs

    def forward(self, **inputs: Tensor) -> tuple[Tensor, ...]:
        """The states and the keys and values of the layers."""
        states = self.model.get_encoder()(**inputs)[0]
        return states, *self.cross(states, inputs.get("attention_mask"))

    def cross(self, states: Tensor, mask: Tensor | None) -> list[Tensor]:
        """Keys and values as a first token leaves them; whatever else it computes, nobody reads."""
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        token = torch.zeros(states.shape[0], 1, dtype=torch.long)
        masked = {} if mask is None else {"attention_mask": mask}
        outputs = self.outputs(last_hidden_state=states)
        self.model(decoder_input_ids=token, encoder_outputs=outputs, past_key_values=cache, use_cache=True, **masked)
        return [each for layer in cache.cross_attention_cache.layers for each in (layer.keys, layer.values)]


class Decoder(nn.Module):
    """A step of the decoder, whose cross-attention has its keys and values already.

    Of the encoder's states it then reads the sizes only. They are NaN, so that it shows where a model reads more.
    """

    def __init__(self, model: Any, outputs: type[ModelOutput]) -> None:
        super().__init__()
        self.model, self.outputs = model, outputs

    def forward(self, past_key_values: EncoderDecoderCache, **inputs: Tensor) -> tuple[Tensor, ...]:
        """Logits f32[batch, sequence, vocabulary] and the keys and values of self-attention, a pair a layer."""
        read = past_key_values.cross_attention_cache.layers[0].keys
        states = read.new_full((read.shape[0], read.shape[2], self.model.config.hidden_size), torch.nan)
        outputs = self.outputs(last_hidden_state=states)
        result = self.model(encoder_outputs=outputs, past_key_values=past_key_values, use_cache=True, **inputs)
        layers = result.past_key_values.self_attention_cache.layers
        return result.logits, *(each for layer in layers for each in (layer.keys, layer.values))


def cache_of(own: Sequence[Tensor], cross: Sequence[Tensor]) -> EncoderDecoderCache:
    """A cache of these keys and values of self-attention and of cross-attention, a pair a layer."""
    return EncoderDecoderCache(filled(own), filled(cross))


def names(layers: int, word: str, side: str) -> list[str]:
    """What the keys and values of so many layers are called in a file."""
    return [f"{word}.{number}.{side}.{kind}" for number in range(layers) for kind in ("key", "value")]
