"""Forms that a runtime computes at different speeds, each the fastest somewhere: the machine is asked which one here.

The numbers of one form and another differ by rounding.
"""

from __future__ import annotations

from fxonnx.ir.data import lengthened
from fxonnx.passes.rewriting.rewrite import rule
from fxonnx.passes.rules.linear import is_layer, layer, turned
from fxonnx.target import MICROSOFT

MULTI_HEAD = f"{MICROSOFT}::MultiHeadAttention"


def multi_head(op, q, k, v, heads, scale=None):
    """com.microsoft's operator, which does not hold all scores at once (Dao et al. 2022)."""
    attributes = {"num_heads": heads} | ({} if scale is None else {"scale": scale})
    (result,) = op.call(MULTI_HEAD, [q, k, v], attributes, 1, [q.type])
    return result


@rule
class blockwise_attention:
    """q, k, v ── Attention ─▶        becomes        q, k, v ── MultiHeadAttention ─▶

    which goes block by block, so that long rows of scores do not leave the processor's cache."""
    def before(op, q, k, v, *, heads, keys, scale):
        return op.Attention(q, k, v, q_num_heads=heads, kv_num_heads=keys, scale=scale)
    def after(op, q, k, v, heads, scale): return multi_head(op, q, k, v, heads, scale)
    def where(q, k, v, heads, keys, target):
        if q.rank != 3 or heads != keys or q.shape[2] != v.shape[2] or q.dtype.bits != 32:
            return False
        sizes = {"heads": (q.shape[0], heads), "queries": (q.shape[1],), "keys": (k.shape[1],)}
        return target.machine.prefers("blockwise_attention", "attention", **sizes)
    def when(target): return target.has_kernel(MICROSOFT, "MultiHeadAttention", 1, {}) and target.allows(MICROSOFT)


def by_blocks(op, x, kernel, bias=None):
    """A linear layer of up to four axes as a convolution of one element, with the channels last.

    ONNX Runtime computes that in blocks of channels, and makes of the transposes the ways into that layout and out of
    it, which it needs anyway."""
    missing = list(range(4 - x.rank))
    image = op.Unsqueeze(x, missing) if missing else x
    result = op.Transpose(op.Conv(op.Transpose(image, perm=(0, 3, 1, 2)), kernel, bias), perm=(0, 2, 3, 1))
    return op.Squeeze(result, missing) if missing else result


_BLOCK = 16  # channels; of other numbers of them the runtime transposes in memory
_LARGE = 1 << 18  # weights; fewer are read from a cache, in any order
_WORTH = 0.92  # in a contest of weights that are as cold as in a model, in which less is chance


@rule
class linear_by_blocks:
    """x ── Gemm ─▶        becomes        x ── Transpose ── Conv ── Transpose ─▶

    which is computed in blocks of channels, from weights in their order."""
    def before(op, x, weight, bias=None, *, transB): return layer(op, x, weight, bias, transB)
    def after(op, x, weight, bias, transB):
        rows = weight.value if transB else turned(op, weight).value
        return by_blocks(op, x, op.constant(lengthened(rows.data, 2), name=rows.name), bias)
    def where(x, weight, bias, transB, target):
        if x.rank not in (2, 3, 4) or not is_layer(weight, bias) or x.dtype.bits != 32:
            return False
        inputs, outputs = weight.shape[::-1] if transB else weight.shape
        if inputs % _BLOCK or outputs % _BLOCK or inputs * outputs < _LARGE:
            return False
        if bias is not None and bias.shape != (outputs,):
            return False
        sizes = {"rows": x.shape[:-1], "inputs": (inputs,), "outputs": (outputs,)}
        return target.machine.prefers("linear_by_blocks", "linear", worth=_WORTH, **sizes)
