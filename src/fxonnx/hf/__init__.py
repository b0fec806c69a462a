"""Language models of the `transformers` library: compiled with their caches, and generating as they do.

    lm = fxonnx.hf.compile_causal_lm(model)
    lm.generate(input_ids, max_new_tokens=32)      # token by token what model.generate(…) returns
    compile_seq2seq(model)                         # the same for T5, BART, Whisper, …: an encoder and a decoder
    lm.save("folder")                              # for onnxruntime-genai and optimum as well
    load("folder").generate(…)                     # the same of the file

Needs the extra `hf`: transformers.
"""

from __future__ import annotations

from fxonnx.hf.causal_lm import CausalLM, compile_causal_lm
from fxonnx.hf.saved import SavedLM, load
from fxonnx.hf.seq2seq import Seq2SeqLM, compile_seq2seq

__all__ = ["CausalLM", "SavedLM", "Seq2SeqLM", "compile_causal_lm", "compile_seq2seq", "load"]
