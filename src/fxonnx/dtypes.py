"""The dtype table and its two orders: what torch promotes to, and what holds which values exactly.

*Promotion* is torch's: int64 joins float16 to float16. *Containment* is by value: float16 does not contain int64. They
are kept apart: promotion says what a program means, containment says where a value may travel without loss.

Standard library only; numpy and torch appear as names in the table.
Sources: torch.promote_types and torch.result_type (c10/core/ScalarType, ATen/native/TypeProperties), the ONNX IR
specification (TensorProto.DataType and "float stored in 8, 6 and 4 bits"), the OCP 8-bit and microscaling formats.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence


class DTypeError(TypeError):
    """No such dtype, or no common dtype. Who knows the place turns it into `errors.UnsupportedDtype`."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DType:
    """One row of the table. Rows are singletons: compare with `is` or `==`, both are identity.

    `code` is the number in ONNX's TensorProto.DataType, 0 where ONNX has none. `bits` is the size in memory of one
    element (both parts of a complex number; 0 for strings). `numpy` and `torch` are the names of the same dtype there,
    `np.dtype(row.numpy)` and `getattr(torch, row.torch)`; empty where there is none.
    `digits`, `quantum`, `lowest`, `highest` and `special` describe the set of values: every finite value is an integer
    of at most `digits` bits times a power of two not below 2**`quantum`. For complex rows they describe one component.
    """

    name: str
    short: str
    code: int
    bits: int
    kind: str
    numpy: str
    torch: str
    digits: int = field(default=0)
    quantum: int = field(default=0)
    lowest: float = field(default=0)
    highest: float = field(default=0)
    special: frozenset[str] = field(default=frozenset())

    @property
    def is_float(self) -> bool:
        """Real floating point, of any width."""
        return self.kind == "float"

    @property
    def is_integer(self) -> bool:
        """Signed or unsigned integer; bool is neither."""
        return self.kind in ("int", "uint")

    @property
    def is_complex(self) -> bool:
        """Complex floating point."""
        return self.kind == "complex"

    @property
    def is_signed(self) -> bool:
        """Holds values below zero."""
        return self.lowest < 0

    def nbytes(self, count: int) -> int:
        """Bytes of `count` elements, packed as ONNX packs dtypes below a byte."""
        return (count * self.bits + 7) // 8

    def __str__(self) -> str:
        return self.short

    def __repr__(self) -> str:
        return self.name.upper()

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return dtype, (self.name,)


def _integer(name: str, code: int, bits: int) -> DType:
    """An integer row: its name starts with "int" or "uint"."""
    signed = name.startswith("int")
    digits = bits - signed
    lowest, highest = -(2**digits) if signed else 0, 2**digits - 1
    return DType(name, f"{name[0]}{bits}", code, bits, "int" if signed else "uint", name, name,
                 digits, 0, lowest, highest, frozenset({"0"}))  # fmt: skip


# The special values of an encoding, and what it gives up for them.
_ENCODINGS = {
    "ieee": frozenset({"0", "-0", "inf", "nan"}),  # the last exponent is inf and nan
    "fn": frozenset({"0", "-0", "nan"}),           # the last significand of the last exponent is nan
    "fnuz": frozenset({"0", "nan"}),               # nan sits where -0 would be; bias is one more
    "finite": frozenset({"0", "-0"}),
    "scale": frozenset({"nan"}),                   # an exponent alone: no sign, no zero
}  # fmt: skip


def _float(name: str, short: str, code: int, exponent: int, mantissa: int, encoding: str = "ieee",
           numpy: str = "", torch: str = "") -> DType:  # fmt: skip
    """A floating point row, its set of values derived from the widths of its fields and its encoding."""
    bias = 2 ** (exponent - 1) - (encoding != "fnuz")
    last = 2**exponent - 1 - bias - (encoding in ("ieee", "scale"))
    significand = 2 - 2.0**-mantissa * (2 if encoding == "fn" else 1)
    highest = significand * 2.0**last
    lowest, sign = (2.0**-bias, 0) if encoding == "scale" else (-highest, 1)
    quantum = -bias - mantissa + sign  # subnormals share the first normal exponent; a scale has none
    return DType(name, short, code, sign + exponent + mantissa, "float", numpy or name, torch or name,
                 mantissa + 1, quantum, lowest, highest, _ENCODINGS[encoding])  # fmt: skip


def _complex(name: str, short: str, code: int, part: DType) -> DType:
    """A complex row of two components."""
    return DType(name, short, code, 2 * part.bits, "complex", "" if part.bits == 16 else name, name,
                 part.digits, part.quantum, part.lowest, part.highest, part.special)  # fmt: skip


BOOL = DType("bool", "b8", 9, 8, "bool", "bool", "bool", 1, 0, 0, 1, frozenset({"0"}))
UINT2 = _integer("uint2", 25, 2)
UINT4 = _integer("uint4", 21, 4)
UINT8 = _integer("uint8", 2, 8)
UINT16 = _integer("uint16", 4, 16)
UINT32 = _integer("uint32", 12, 32)
UINT64 = _integer("uint64", 13, 64)
INT2 = _integer("int2", 26, 2)
INT4 = _integer("int4", 22, 4)
INT8 = _integer("int8", 3, 8)
INT16 = _integer("int16", 5, 16)
INT32 = _integer("int32", 6, 32)
INT64 = _integer("int64", 7, 64)
FLOAT4E2M1 = _float("float4e2m1", "f4e2m1", 23, 2, 1, "finite", "float4_e2m1fn", "float4_e2m1fn_x2")
FLOAT8E4M3FN = _float("float8e4m3fn", "f8e4m3fn", 17, 4, 3, "fn", "float8_e4m3fn", "float8_e4m3fn")
FLOAT8E4M3FNUZ = _float("float8e4m3fnuz", "f8e4m3fnuz", 18, 4, 3, "fnuz", "float8_e4m3fnuz", "float8_e4m3fnuz")
FLOAT8E5M2 = _float("float8e5m2", "f8e5m2", 19, 5, 2, "ieee", "float8_e5m2", "float8_e5m2")
FLOAT8E5M2FNUZ = _float("float8e5m2fnuz", "f8e5m2fnuz", 20, 5, 2, "fnuz", "float8_e5m2fnuz", "float8_e5m2fnuz")
FLOAT8E8M0 = _float("float8e8m0", "f8e8m0", 24, 8, 0, "scale", "float8_e8m0fnu", "float8_e8m0fnu")
FLOAT16 = _float("float16", "f16", 10, 5, 10)
BFLOAT16 = _float("bfloat16", "bf16", 16, 8, 7)
FLOAT32 = _float("float32", "f32", 1, 8, 23)
FLOAT64 = _float("float64", "f64", 11, 11, 52)
COMPLEX32 = _complex("complex32", "c32", 0, FLOAT16)
COMPLEX64 = _complex("complex64", "c64", 14, FLOAT32)
COMPLEX128 = _complex("complex128", "c128", 15, FLOAT64)
STRING = DType("string", "str", 8, 0, "string", "object", "")

DTYPES: tuple[DType, ...] = tuple(row for row in globals().values() if isinstance(row, DType))


# ---- one name, one row ----------------------------------------------------------------------------------------------


def _names(row: DType) -> Iterable[Hashable]:
    """Everything a row is known by; numpy's and torch's own objects are learned when first met."""
    return filter(None, (row, row.name, row.short, row.code, row.numpy, row.torch and f"torch.{row.torch}"))


# "float" and "double" are what ONNX's type strings say: tensor(float), tensor(double).
_KNOWN: dict[Hashable, DType] = {"float": FLOAT32, "double": FLOAT64, bool: BOOL}
_KNOWN.update({name: row for row in DTYPES for name in _names(row)})


def dtype(x: object) -> DType:
    """The row for a DType, its name ("float32", "f32", "torch.float32"), its ONNX code, a numpy or torch dtype.

    Python's `float`, `int` and `complex` are refused: numpy and torch disagree about what they mean.

    Raises:
        DTypeError: there is no such dtype, or ONNX and this table have no row for it (torch.qint8).
    """
    if x is True or x is False:  # equal to the ONNX codes 1 and 0
        raise DTypeError(f"{x} is a value, not a dtype")
    row = _KNOWN.get(x)
    return row if row is not None else _learn(x)


def _learn(x: object) -> DType:
    """Find the row of a numpy or torch object by its name, and remember the object."""
    match x:
        case type() if x.__module__ in ("numpy", "ml_dtypes"):
            name = x.__name__
        case str() | int() | type():
            name = ""
        case _:  # numpy.dtype says .name, torch.dtype has str() alone
            name = getattr(x, "name", None) or str(x)
    row = _KNOWN.get(name)
    if row is None:
        raise DTypeError(f"{x!r} names no dtype known here; there are " + ", ".join(each.name for each in DTYPES))
    _KNOWN[x] = row
    return row


# ---- promotion: torch's order ---------------------------------------------------------------------------------------

_BARE = (UINT2, UINT4, UINT16, UINT32, UINT64)  # unsigned integers that torch stores but hardly computes with

# The lattice: each row and what lies just above it. Promotion is the least upper bound; rows that are not here
# (int4, float8…) have none but themselves. Two bare integers meet only in float16 *and* bfloat16, that is nowhere.
_ABOVE: dict[DType, tuple[DType, ...]] = {
    BOOL: (UINT8, INT8),
    UINT8: (INT16,), INT8: (INT16,), INT16: (INT32,), INT32: (INT64,), INT64: (FLOAT16, BFLOAT16),
    FLOAT16: (FLOAT32, COMPLEX32), BFLOAT16: (FLOAT32,), FLOAT32: (FLOAT64, COMPLEX64), FLOAT64: (COMPLEX128,),
    COMPLEX32: (COMPLEX64,), COMPLEX64: (COMPLEX128,),
    **dict.fromkeys(_BARE, (FLOAT4E2M1, FLOAT16, BFLOAT16)),
}  # fmt: skip


@cache
def _upper(row: DType) -> frozenset[DType]:
    """A row and all that lies above it."""
    return frozenset({row}).union(*map(_upper, _ABOVE.get(row, ())))


@cache
def promote(a: DType, b: DType) -> DType:
    """The dtype of an operation on dimensioned tensors of dtypes `a` and `b`, as `torch.promote_types`.

    Raises:
        DTypeError: torch has no promotion for the pair either.
    """
    if a is b:
        return a
    common = _upper(a) & _upper(b)
    least = next((row for row in common if common <= _upper(row)), None)
    # The one place where torch is no lattice: uint16 rises to float16, that to complex32, but uint16 not to complex32.
    if least is None or (least.is_complex and (a in _BARE or b in _BARE)):
        raise DTypeError(f"torch does not promote {a.name} with {b.name}; cast one of them first")
    return least


class Typed(Protocol):
    """What has a dtype and a shape: an IR value, a numpy array, a torch tensor."""

    @property
    def dtype(self) -> object:
        """Whatever `dtypes.dtype` understands."""

    @property
    def shape(self) -> Sequence[object]:
        """One entry per axis; an empty one makes a 0-dim operand."""


Operand = DType | Typed | bool | int | float | complex


def result_type(*operands: Operand, default: DType = FLOAT32) -> DType:
    """The dtype of an operation on tensors, 0-dim tensors and Python numbers, as `torch.result_type`.

    A bare DType counts as a dimensioned tensor, other operands say their rank by `shape`. `default` is torch's default
    dtype, which Python floats take. Dimensioned tensors outrank 0-dim ones, these outrank numbers: a lower rank counts
    only where it is of a higher category (bool, integer, float, complex).

    Raises:
        DTypeError: no operands, an operand without dtype, or a pair that torch does not promote.
    """
    ranks: dict[int, DType] = {}
    for operand in operands:
        rank, row = _ranked(operand, default)
        ranks[rank] = promote(ranks[rank], row) if rank in ranks else row
    result: DType | None = None
    for _, higher in sorted(ranks.items()):
        result = higher if result is None else _outrank(higher, result)
    if result is None:
        raise DTypeError("result_type of nothing; give at least one operand")
    return result


def _ranked(operand: Operand, default: DType) -> tuple[int, DType]:
    """The rank of an operand (number 0, 0-dim tensor 1, dimensioned tensor 2) and its dtype."""
    match operand:
        case DType():
            return 2, operand
        case bool():
            return 0, BOOL
        case int():
            return 0, INT64
        case float():
            return 0, default
        case complex():
            return 0, to_complex(default)
    if not (hasattr(operand, "dtype") and hasattr(operand, "shape")):
        raise DTypeError(f"{operand!r} is no operand: neither a number nor a thing with dtype and shape")
    return (2 if len(operand.shape) else 1), dtype(operand.dtype)


def _outrank(higher: DType, lower: DType) -> DType:
    """What remains of `lower` beside an operand of higher rank: its category, if that is higher."""
    if higher.is_complex:
        return higher
    if lower.is_complex:
        return to_complex(higher) if higher.is_float else lower
    if not higher.is_float and (higher is BOOL or lower.is_float):
        return promote(higher, lower)
    return higher


def to_float(row: DType, default: DType = FLOAT32) -> DType:
    """What sin, mean or division compute in: `default` for integers and bool, else the dtype itself."""
    return default if row.is_integer or row is BOOL else row


_COMPLEX = {FLOAT16: COMPLEX32, BFLOAT16: COMPLEX64, FLOAT32: COMPLEX64, FLOAT64: COMPLEX128}
_REAL = {COMPLEX32: FLOAT16, COMPLEX64: FLOAT32, COMPLEX128: FLOAT64}


def to_complex(row: DType) -> DType:
    """The complex dtype for a real float, as torch pairs them; complex dtypes stay.

    Raises:
        DTypeError: not a float, or one of 8 bits and fewer.
    """
    if row.is_complex:
        return row
    if row not in _COMPLEX:
        raise DTypeError(f"there is no complex dtype of {row.name}; cast to float32 first")
    return _COMPLEX[row]


def to_real(row: DType) -> DType:
    """The dtype of one component of a complex dtype; real dtypes stay."""
    return _REAL.get(row, row)


# ---- containment: the order of values -------------------------------------------------------------------------------


@cache
def contains(wide: DType, narrow: DType) -> bool:
    """Whether every value of `narrow` is one of `wide`: casting there and back changes nothing.

    Counts -0, infinities and nan (not its payload) as values; bool is 0 and 1.
    """
    if wide is narrow:
        return True
    if STRING in (wide, narrow) or (narrow.is_complex and not wide.is_complex):
        return False
    return (
        wide.digits >= narrow.digits
        and wide.quantum <= narrow.quantum
        and wide.lowest <= narrow.lowest
        and wide.highest >= narrow.highest
        and wide.special >= narrow.special
    )
