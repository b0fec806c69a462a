"""Speech, sound and series models of `transformers`, by configuration and small."""

from __future__ import annotations

import torch

from benchmarks.corpus.entry import WAVES, Entry, text_sizes, waves
from benchmarks.corpus.text import made
from benchmarks.models.case import Draw, Inputs, Sizes

CONVOLUTIONS = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "vocab_size": 32,
    "conv_dim": (16, 16, 16),
    "conv_stride": (5, 4, 2),
    "conv_kernel": (10, 8, 4),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
SAMPLES = {0: "batch", 1: "samples"}
WAVE = {"input_values": SAMPLES}


def masked_waves(draw: Draw, s: Sizes) -> Inputs:
    """f32[batch, samples] and a mask of the samples that are there."""
    shape = s["batch"], s["samples"]
    return (), {
        "input_values": draw.normal(*shape),
        "attention_mask": (torch.arange(shape[1]) < shape[1] - 800).expand(shape).long(),
    }


def spectrograms(draw: Draw, s: Sizes) -> Inputs:
    """f32[batch, 20, 60] and int64[batch, sequence] of what was said so far."""
    return (), {
        "input_features": draw.normal(s["batch"], 20, 60),
        "decoder_input_ids": draw.integers(99, s["batch"], s["sequence"], low=3),
    }


def series(draw: Draw, s: Sizes) -> Inputs:
    """f32[batch, 32, 3]."""
    return (), {"past_values": draw.normal(s["batch"], 32, 3)}


ENTRIES = (
    Entry("transformers/wav2vec2", made("Wav2Vec2ForCTC", "Wav2Vec2Config", **CONVOLUTIONS), waves(), WAVES, WAVE),
    Entry(
        "transformers/wav2vec2_masked",
        made("Wav2Vec2ForCTC", "Wav2Vec2Config", **CONVOLUTIONS),
        masked_waves,
        WAVES,
        {**WAVE, "attention_mask": SAMPLES},
    ),
    Entry("transformers/wavlm", made("WavLMModel", "WavLMConfig", **CONVOLUTIONS), waves(), WAVES, WAVE),
    Entry(
        "transformers/encodec",
        made(
            "EncodecModel",
            "EncodecConfig",
            num_filters=8,
            hidden_size=16,
            codebook_size=32,
            codebook_dim=16,
            upsampling_ratios=[4, 2],
            num_lstm_layers=1,
        ),
        waves(1),
        WAVES,
        {"input_values": {0: "batch", 2: "samples"}},
    ),
    Entry(
        "transformers/vits",
        made(
            "VitsModel",
            "VitsConfig",
            vocab_size=38,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            ffn_dim=20,
            flow_size=16,
            spectrogram_bins=9,
            noise_scale=0.0,
            noise_scale_duration=0.0,
            upsample_initial_channel=16,
            upsample_rates=[4, 4],
            upsample_kernel_sizes=[8, 8],
            duration_predictor_filter_channels=16,
            prior_encoder_num_wavenet_layers=1,
            posterior_encoder_num_wavenet_layers=1,
        ),
        lambda draw, s: ((), {"input_ids": draw.integers(38, s["batch"], s["sequence"], low=1)}),
        text_sizes((2, 7), (3, 12), (1, 5), (1, 9)),
        {"input_ids": {0: "batch", 1: "sequence"}},
    ),
    Entry(
        "transformers/whisper",
        made(
            "WhisperForConditionalGeneration",
            "WhisperConfig",
            vocab_size=99,
            d_model=16,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=20,
            decoder_ffn_dim=20,
            num_mel_bins=20,
            max_source_positions=30,
            max_target_positions=40,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
            use_cache=False,
        ),
        spectrograms,
        text_sizes((2, 5), (3, 9), (1, 3), (1, 1)),
        {"input_features": {0: "batch"}, "decoder_input_ids": {0: "batch", 1: "sequence"}},
    ),
    Entry(
        "transformers/patchtst",
        made(
            "PatchTSTForPrediction",
            "PatchTSTConfig",
            num_input_channels=3,
            context_length=32,
            patch_length=8,
            patch_stride=8,
            d_model=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            ffn_dim=20,
            prediction_length=4,
        ),
        series,
        text_sizes((2, 1), (3, 1), (1, 1), (5, 1)),
        {"past_values": {0: "batch"}},
    ),
)
