"""Forms that a runtime computes at different speeds, each the fastest somewhere: the machine is asked which one here.

The numbers of one form and another differ by rounding.
"""

from __future__ import annotations

from fxonnx.ir.data import lengthened
from fxonnx.passes.linear import known
from fxonnx.passes.rewriting.rewrite import rule
from fxonnx.passes.rules.linear import turned
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


def by_columns(op, x, kernel, bias=None):
    """A linear layer of [batch, rows, inputs] as a convolution of one element, with the rows as columns: of three
    axes, since one of two would be taken apart into blocks of channels by the runtime."""
    columns = op.Unsqueeze(op.Transpose(x, perm=(2, 0, 1)), [0, 4])
    return op.Transpose(op.Squeeze(op.Conv(columns, kernel, bias), [0, 4]), perm=(1, 2, 0))


@rule
class linear_by_columns:
    """x ── MatMul ── + ─▶        becomes        x ── Transpose ── Conv ── Transpose ─▶

    wᵀ · xᵀ costs the arithmetic of x · w, and not its time."""
    def before(op, x, weight, bias=None):
        product = op.MatMul(x, op.one_use(weight))
        return op.any_of(product + op.one_use(bias), product)
    def after(op, x, weight, bias):
        columns = turned(op, weight).value
        return by_columns(op, x, op.constant(lengthened(columns.data, 3), name=columns.name), bias)
    def where(x, weight, bias, target):
        if x.rank != 3 or weight.rank != 2 or x.dtype.bits != 32 or not known(weight.value):
            return False
        if bias is not None and not (known(bias.value) and bias.shape == weight.shape[1:]):
            return False
        sizes = {"rows": x.shape[:2], "inputs": weight.shape[:1], "outputs": weight.shape[1:]}
        return target.machine.prefers("linear_by_columns", "linear", **sizes)
