"""Text models of `transformers`, by configuration and small."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from benchmarks.corpus.entry import TEXTS, Entry, tokens
from benchmarks.models.case import Sizes

TOKENS = {0: "batch", 1: "sequence"}
SMALL = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
}
DECODER = {**SMALL, "use_cache": False}


def made(model: str, config: str, **fields: Any) -> Any:
    """A factory of a model of a class and a configuration's."""

    def factory() -> nn.Module:
        import transformers

        module: nn.Module = getattr(transformers, model)(getattr(transformers, config)(**fields))
        return module

    return factory


def entry(name: str, module: Any, *names: str, sizes: Sequence[Sizes] = TEXTS) -> Entry:
    """One that takes token ids and a mask, dynamic in batch and sequence."""
    names = names or ("input_ids", "attention_mask")
    return Entry(f"transformers/{name}", module, tokens(99, *names), sizes, dict.fromkeys(names, TOKENS))


SEQ2SEQ = ("input_ids", "attention_mask", "decoder_input_ids")

ENTRIES = (
    entry("bert", made("BertModel", "BertConfig", **SMALL)),
    entry("albert", made("AlbertModel", "AlbertConfig", embedding_size=16, **SMALL)),
    entry("electra", made("ElectraForTokenClassification", "ElectraConfig", embedding_size=16, **SMALL)),
    entry("roberta", made("RobertaForSequenceClassification", "RobertaConfig", **SMALL)),
    entry("mpnet", made("MPNetModel", "MPNetConfig", **SMALL)),
    entry(
        "deberta",
        made(
            "DebertaV2Model",
            "DebertaV2Config",
            relative_attention=True,
            pos_att_type=["c2p", "p2c"],
            position_buckets=8,
            norm_rel_ebd="layer_norm",
            **SMALL,
        ),
    ),
    entry("longformer", made("LongformerModel", "LongformerConfig", attention_window=4, **SMALL)),
    entry("modernbert", made("ModernBertModel", "ModernBertConfig", pad_token_id=0, **SMALL)),
    entry("roformer", made("RoFormerModel", "RoFormerConfig", embedding_size=32, **SMALL)),
    entry("fnet", made("FNetModel", "FNetConfig", **{**SMALL, "use_tpu_fourier_optimizations": False}), "input_ids"),
    entry("xlnet", made("XLNetModel", "XLNetConfig", vocab_size=99, d_model=32, n_layer=2, n_head=4, d_inner=37)),
    entry(
        "t5",
        made(
            "T5ForConditionalGeneration",
            "T5Config",
            vocab_size=99,
            d_model=32,
            d_kv=8,
            d_ff=37,
            num_layers=2,
            num_heads=4,
            use_cache=False,
        ),
        *SEQ2SEQ,
    ),
    entry(
        "bart",
        made(
            "BartForConditionalGeneration",
            "BartConfig",
            vocab_size=99,
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=37,
            decoder_ffn_dim=37,
            use_cache=False,
        ),
        *SEQ2SEQ,
    ),
    entry(
        "gpt2", made("GPT2LMHeadModel", "GPT2Config", vocab_size=99, n_embd=32, n_layer=2, n_head=4, use_cache=False)
    ),
    entry("llama", made("LlamaForCausalLM", "LlamaConfig", num_key_value_heads=2, **DECODER)),
    entry(
        "gemma3",
        made("Gemma3ForCausalLM", "Gemma3TextConfig", num_key_value_heads=2, head_dim=8, sliding_window=4, **DECODER),
    ),
    entry("mistral", made("MistralForCausalLM", "MistralConfig", num_key_value_heads=2, sliding_window=4, **DECODER)),
    entry(
        "mixtral",
        made(
            "MixtralForCausalLM",
            "MixtralConfig",
            num_key_value_heads=2,
            num_local_experts=4,
            **{**DECODER, "intermediate_size": 40},
        ),
    ),
    entry(
        "qwen3_moe",
        made(
            "Qwen3MoeForCausalLM",
            "Qwen3MoeConfig",
            num_key_value_heads=2,
            num_experts=4,
            head_dim=8,
            num_experts_per_tok=2,
            moe_intermediate_size=16,
            **DECODER,
        ),
    ),
    entry(
        "bloom",
        made("BloomForCausalLM", "BloomConfig", vocab_size=99, hidden_size=32, n_layer=2, n_head=4, use_cache=False),
    ),
    entry("falcon", made("FalconForCausalLM", "FalconConfig", **DECODER)),
    entry(
        "opt",
        made(
            "OPTForCausalLM",
            "OPTConfig",
            vocab_size=99,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            ffn_dim=37,
            word_embed_proj_dim=32,
            use_cache=False,
        ),
    ),
    entry(
        "mamba",
        made(
            "MambaForCausalLM",
            "MambaConfig",
            vocab_size=99,
            hidden_size=32,
            num_hidden_layers=2,
            state_size=4,
            use_cache=False,
        ),
        "input_ids",
    ),
    entry(
        "mamba2",
        made(
            "Mamba2ForCausalLM",
            "Mamba2Config",
            vocab_size=99,
            hidden_size=32,
            num_hidden_layers=2,
            state_size=4,
            num_heads=4,
            head_dim=16,
            expand=2,
            n_groups=1,
            chunk_size=4,
            use_cache=False,
        ),
        "input_ids",
    ),
    entry(
        "rwkv",
        made(
            "RwkvForCausalLM",
            "RwkvConfig",
            vocab_size=99,
            hidden_size=32,
            num_hidden_layers=2,
            attention_hidden_size=32,
            intermediate_size=37,
            use_cache=False,
        ),
        "input_ids",
    ),
)
