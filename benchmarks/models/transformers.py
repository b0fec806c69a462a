"""Architectures of the `transformers` library, from configurations, with random weights; imported when built.

Depths, head counts and normalizations are the published ones; decoder-only models of billions of weights keep their
layers but are narrower.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchmarks.models.case import Case, Draw, Inputs, Sizes, tags

if TYPE_CHECKING:
    from transformers import LlamaConfig, T5Config

TOKENS = {0: "batch", 1: "sequence"}
TEXT = {"input_ids": TOKENS, "attention_mask": TOKENS}


def bert() -> nn.Module:
    """BERT-base: 12 layers of width 768. Devlin et al. 2018."""
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig())


def distilbert() -> nn.Module:
    """DistilBERT with a classification head: 6 layers of width 768. Sanh et al. 2019."""
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    return DistilBertForSequenceClassification(DistilBertConfig())


def gpt2() -> nn.Module:
    """GPT-2 small: 12 layers of width 768, no cache. Radford et al. 2019."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(use_cache=False))


class WithPast(nn.Module):
    """A prefill step: int64[n, t] -> logits f32[n, t, v], then each layer's key and value f32[n, h, t, d]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, tuple[tuple[Tensor, Tensor], ...]]:
        out = self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=True)
        return out.logits, tuple((layer.keys, layer.values) for layer in out.past_key_values.layers)


class DecodeStep(nn.Module):
    """One step with a cache of (key, value) pairs: int64[n, 1] and layers of f32[n, h, p, d] -> logits, new cache."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, past: list[tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, list]:
        from transformers import DynamicCache

        cache = DynamicCache(past)
        out = self.model(input_ids=input_ids, attention_mask=attention_mask, past_key_values=cache, use_cache=True)
        return out.logits, [(layer.keys, layer.values) for layer in out.past_key_values.layers]


def llama_config(layers: int, **fields: Any) -> "LlamaConfig":
    """Llama with grouped-query attention and rotary positions, narrowed to 512. Touvron et al. 2023."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=8000, hidden_size=512, intermediate_size=1376, num_hidden_layers=layers,
        num_attention_heads=8, num_key_value_heads=4, **fields,
    )  # fmt: skip


def llama(layers: int) -> nn.Module:
    """A Llama of `layers` layers, no cache."""
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM(llama_config(layers, use_cache=False))


def llama_decode() -> nn.Module:
    """One decoding step of a 4-layer Llama with its cache."""
    from transformers import LlamaForCausalLM

    return DecodeStep(LlamaForCausalLM(llama_config(4)))


def qwen2() -> nn.Module:
    """Qwen2: biased projections, grouped-query attention; 4 layers, narrowed. Yang et al. 2024."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=8000, hidden_size=448, intermediate_size=1216, num_hidden_layers=4,
        num_attention_heads=14, num_key_value_heads=2, use_cache=False, tie_word_embeddings=True,
    )  # fmt: skip
    return Qwen2ForCausalLM(config)


def qwen3() -> nn.Module:
    """Qwen3: normalized queries and keys, heads wider than width / heads; 4 layers, narrowed. Yang et al. 2025."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=8000, hidden_size=512, intermediate_size=1536, num_hidden_layers=4, num_attention_heads=8,
        num_key_value_heads=2, head_dim=128, use_cache=False, tie_word_embeddings=True,
    )  # fmt: skip
    return Qwen3ForCausalLM(config)


def t5_config() -> "T5Config":
    """T5-small: 6 layers of width 512, relative position buckets. Raffel et al. 2019."""
    from transformers import T5Config

    return T5Config(decoder_start_token_id=0, use_cache=False)


def t5_encoder() -> nn.Module:
    """T5-small's encoder."""
    from transformers import T5EncoderModel

    return T5EncoderModel(t5_config())


class SequenceDecoder(nn.Module):
    """T5's decoder with its head, fed with the encoder's states: -> logits f32[n, t, v]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.decoder = model.get_decoder()
        self.head = model.get_output_embeddings()
        self.scale = model.config.d_model**-0.5

    def forward(self, input_ids: Tensor, encoder_states: Tensor, encoder_mask: Tensor) -> Tensor:
        out = self.decoder(
            input_ids=input_ids,
            encoder_hidden_states=encoder_states,
            encoder_attention_mask=encoder_mask,
            use_cache=False,
        )
        return self.head(out.last_hidden_state * self.scale)


def t5_decoder() -> nn.Module:
    """T5-small's decoder and head."""
    from transformers import T5ForConditionalGeneration

    return SequenceDecoder(T5ForConditionalGeneration(t5_config()))


def whisper_encoder() -> nn.Module:
    """Whisper-tiny's encoder: 4 layers of width 384 over 30 s of sound. Radford et al. 2022."""
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    return WhisperEncoder(WhisperConfig())


def wav2vec2() -> nn.Module:
    """Wav2Vec2-base: 7 convolutions, a weight-normed positional one, 12 layers of width 768. Baevski et al. 2020."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    return Wav2Vec2Model(Wav2Vec2Config())


def clip() -> nn.Module:
    """CLIP ViT-B/32 with its text tower. Radford et al. 2021."""
    from transformers import CLIPConfig, CLIPModel

    return CLIPModel(CLIPConfig())


def detr() -> nn.Module:
    """DETR on a ResNet-50. Carion et al. 2020."""
    from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig

    backbone = ResNetConfig(out_features=["stage4"])
    return DetrForObjectDetection(
        DetrConfig(use_timm_backbone=False, use_pretrained_backbone=False, backbone_config=backbone)
    )


def segformer() -> nn.Module:
    """SegFormer-B0 for segmentation. Xie et al. 2021."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    return SegformerForSemanticSegmentation(SegformerConfig(num_labels=150))


def text(draw: Draw, sizes: Sizes, vocabulary: int) -> Inputs:
    """input_ids and attention_mask int64[batch, sequence], by name; rows are padded at the end."""
    batch, sequence = sizes["batch"], sizes["sequence"]
    return (), {
        "input_ids": draw.integers(vocabulary, batch, sequence),
        "attention_mask": draw.padding(batch, sequence),
    }


def text_case(name: str, module: Any, vocabulary: int, **fields: Any) -> Case:
    """A case fed with token ids and their mask, dynamic in batch and sequence."""
    return Case(
        name=name,
        module=module,
        inputs=lambda draw, sizes: text(draw, sizes, vocabulary),
        sizes={"batch": 2, "sequence": 32},
        other_sizes={"batch": 3, "sequence": 21},
        **{"dynamic": TEXT, "tags": tags("transformers", "attention"), **fields},
    )


def decode_inputs(draw: Draw, sizes: Sizes) -> Inputs:
    """One new token after `past` cached ones, for 4 layers of 4 key heads of 64."""
    batch, past = sizes["batch"], sizes["past"]
    cache = [(draw.normal(batch, 4, past, 64), draw.normal(batch, 4, past, 64)) for _ in range(4)]
    mask = torch.ones(batch, past + 1, dtype=torch.int64)
    return (), {"input_ids": draw.integers(8000, batch, 1), "attention_mask": mask, "past": cache}


def decoder_inputs(draw: Draw, sizes: Sizes) -> Inputs:
    """Target ids int64[batch, target], encoder states f32[batch, source, 512] and their mask int64[batch, source]."""
    batch, source = sizes["batch"], sizes["source"]
    target = draw.integers(32128, batch, sizes["target"])
    return (target, draw.normal(batch, source, 512), draw.padding(batch, source)), {}


def clip_inputs(draw: Draw, sizes: Sizes) -> Inputs:
    """Texts that end in the end-of-text id, their mask, and images, by name."""
    _, named = text(draw, {"batch": sizes["texts"], "sequence": sizes["sequence"]}, 49000)
    named["input_ids"][:, -1] = 49407
    named["attention_mask"].fill_(1)
    return (), {**named, "pixel_values": draw.normal(sizes["images"], 3, 224, 224)}


def detr_inputs(draw: Draw, sizes: Sizes) -> Inputs:
    """Images f32[batch, 3, 224, 224] and the mask of their pixels int64[batch, 224, 224]; the last rows are padding."""
    mask = torch.ones(sizes["batch"], 224, 224, dtype=torch.int64)
    mask[1:, 192:] = 0
    return (), {"pixel_values": draw.normal(sizes["batch"], 3, 224, 224), "pixel_mask": mask}


TEXT_CASES = (
    text_case("bert_base", bert, 30522),
    text_case("distilbert", distilbert, 30522, tags=tags("transformers", "attention", "quick")),
    text_case("gpt2", gpt2, 50257),
    text_case("llama_4", lambda: llama(4), 8000, tags=tags("transformers", "attention", "quick")),
    text_case("llama_16", lambda: llama(16), 8000, tags=tags("transformers", "attention", "deep")),
    text_case("qwen2_4", qwen2, 8000),
    text_case("qwen3_4", qwen3, 8000),
    text_case("t5_small_encoder", t5_encoder, 32128),
)

OTHER_CASES = (
    text_case("gpt2_past", lambda: WithPast(gpt2()), 50257, tags=tags("transformers", "attention", "cache")),
    Case(
        "llama_4_decode", llama_decode, decode_inputs,
        sizes={"batch": 2, "past": 16}, other_sizes={"batch": 3, "past": 9}, dynamic=None,
        dynamic_reason="the cache is a nested list of pairs, which the short form cannot name",
        tags=tags("transformers", "attention", "cache"),
    ),
    Case(
        "t5_small_decoder", t5_decoder, decoder_inputs,
        sizes={"batch": 2, "source": 32, "target": 16}, other_sizes={"batch": 3, "source": 21, "target": 11},
        dynamic={
            "input_ids": {0: "batch", 1: "target"},
            "encoder_states": {0: "batch", 1: "source"},
            "encoder_mask": {0: "batch", 1: "source"},
        },
        tags=tags("transformers", "attention"),
    ),
    Case(
        "whisper_tiny_encoder", whisper_encoder, lambda draw, sizes: ((draw.normal(sizes["batch"], 80, 3000),), {}),
        sizes={"batch": 2}, other_sizes={"batch": 3}, dynamic={"input_features": {0: "batch"}},
        dynamic_reason="the model itself asks for 3000 frames", tags=tags("transformers", "attention", "audio"),
    ),
    Case(
        "wav2vec2_base", wav2vec2, lambda draw, sizes: ((draw.normal(sizes["batch"], sizes["samples"]),), {}),
        sizes={"batch": 2, "samples": 8000}, other_sizes={"batch": 3, "samples": 6123},
        dynamic={"input_values": {0: "batch", 1: "samples"}}, tags=tags("transformers", "attention", "audio"),
    ),
    Case(
        "clip", clip, clip_inputs,
        sizes={"texts": 3, "images": 2, "sequence": 32}, other_sizes={"texts": 2, "images": 4, "sequence": 21},
        dynamic={
            "input_ids": {0: "texts", 1: "sequence"},
            "attention_mask": {0: "texts", 1: "sequence"},
            "pixel_values": {0: "images"},
        },
        tags=tags("transformers", "attention", "vision"),
    ),
    Case(
        "detr", detr, detr_inputs, sizes={"batch": 2}, other_sizes={"batch": 3},
        dynamic={"pixel_values": {0: "batch"}, "pixel_mask": {0: "batch"}},
        tags=tags("transformers", "attention", "vision"),
    ),
    Case(
        "segformer_b0", segformer,
        lambda draw, sizes: ((), {"pixel_values": draw.normal(sizes["batch"], 3, sizes["height"], sizes["width"])}),
        sizes={"batch": 2, "height": 224, "width": 224}, other_sizes={"batch": 3, "height": 160, "width": 192},
        dynamic={"pixel_values": {0: "batch", 2: "height", 3: "width"}},
        tags=tags("transformers", "attention", "vision"),
    ),
)  # fmt: skip

CASES = TEXT_CASES + OTHER_CASES
