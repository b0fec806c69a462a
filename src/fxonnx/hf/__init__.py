"""Language models of the `transformers` library: compiled with their caches, and generating as they do.

    lm = fxonnx.hf.compile_causal_lm(model)
    lm.generate(input_ids, max_new_tokens=32)      # token by token what model.generate(…) returns
    lm.save("folder")                              # for onnxruntime-genai and optimum as well

Needs the extra `hf`: transformers.
"""

from __future__ import annotations

from fxonnx.hf.causal_lm import CausalLM, compile_causal_lm

__all__ = ["CausalLM", "compile_causal_lm"]
