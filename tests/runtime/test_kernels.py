"""The snapshot is what the installed runtime says."""

from functools import cache

from fxonnx import kernels
from fxonnx.dtypes import BFLOAT16, BOOL, FLOAT32, FLOAT64
from fxonnx.runtime.kernels import main, path, render, snapshot


@cache
def installed():
    """The kernels of the installed runtime."""
    return kernels.from_json(snapshot())


def test_the_snapshot_is_current(capsys):
    assert path().read_text() == render(snapshot()), "run python -m fxonnx.runtime.kernels"
    assert main(["--check"]) == 0


def test_reading_gives_back_what_was_asked():
    live, stored = installed(), kernels.read("onnxruntime", (1, 32))
    assert live.kernels == stored.kernels
    assert live.schemas == stored.schemas
    assert stored.opset == 28


def test_versions():
    table = installed()
    assert len(table.of("", "Attention", 23)) == 2
    assert len(table.of("", "Attention", 24)) == 2
    assert not table.of("", "Attention", 25)  # open-ended from 24, and 25 is another version
    assert table.of("", "RoiAlign", 16)
    assert not table.of("", "RoiAlign", 22)


def test_dtypes():
    (kernel,) = (each for each in installed().of("", "MatMul", 13) if each.takes({"T": FLOAT32}))
    assert kernel.types == {"T": frozenset({FLOAT32})}
    assert not kernel.takes({"T": FLOAT64})
    assert kernel.takes({"unheard of": BOOL})


def test_the_runtimes_own_operators():
    schema = installed().schema("com.microsoft", "FusedMatMul")
    assert [each.name for each in schema.inputs] == ["A", "B"]
    assert BFLOAT16 in schema.types["T"]
    assert installed().schema("", "SimplifiedLayerNormalization").inputs[1].type == "V"
    assert installed().schema("", "MatMul") is None


def test_every_range_has_a_schema_that_it_serves():
    from onnx import defs

    standard = {}
    for schema in defs.get_all_schemas_with_history():
        standard.setdefault((schema.domain, schema.name), set()).add(schema.since_version)
    table = installed()
    for key, found in table.kernels.items():
        versions = standard.get(key, set()) | {each.since for each in table.schemas.get(key, ())}
        assert all(any(kernel.serves(since) for since in versions) for kernel in found), key
