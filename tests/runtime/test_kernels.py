"""The snapshots: the newest is what the installed runtime says, the others are told by their differences."""

import json
from functools import cache

import pytest
from onnx import defs

from fxonnx import kernels
from fxonnx.dtypes import BFLOAT16, BOOL, FLOAT16, FLOAT32, FLOAT64
from fxonnx.kernels import KernelTable
from fxonnx.runtime import kernels as script
from fxonnx.runtime.kernels import content, main, render


@cache
def installed():
    """The kernels of the installed runtime."""
    return script.installed()


def same(one, other):
    """Whether two tables say the same."""
    fields = ("runtime", "version", "provider", "opset", "kernels", "schemas")
    return all(getattr(one, field) == getattr(other, field) for field in fields)


def test_the_snapshot_is_current():
    assert main(["--check"]) == 0, "run python -m fxonnx.runtime.kernels"


def test_reading_gives_back_what_was_asked():
    assert same(installed(), kernels.read("onnxruntime", "cpu", kernels.minor_version(installed().version)))


def test_releases_are_told_by_their_differences():
    newest = installed()
    some = dict(list(newest.kernels.items())[:40])
    older = KernelTable("onnxruntime", "1.9.0", newest.provider, 15, some, {})
    oldest = KernelTable("onnxruntime", "1.8.0", newest.provider, 14, {**some, ("", "Abs"): ()}, newest.schemas)
    written = json.loads(render(content([newest, older, oldest])))
    assert all(map(same, kernels.tables(written), [newest, older, oldest]))
    assert list(written["releases"][2]["kernels"]) == [""]
    assert list(written["releases"][2]["kernels"][""]) == ["Abs"]


def test_releases_of_onnxruntime():
    releases = kernels.releases("onnxruntime", "cpu")
    assert releases[0] == (1, 17)
    assert len(releases) == releases[-1][1] - 16, "one is missing between"
    assert [kernels.read("onnxruntime", "cpu", (1, minor)).opset for minor in (17, 20, 23)] == [20, 21, 23]
    assert not kernels.read("onnxruntime", "cpu", (1, 22)).of("", "Attention", 23)
    assert kernels.read("onnxruntime", "cpu", (1, 24)).of("", "Attention", 23)
    with pytest.raises(KeyError):
        kernels.read("onnxruntime", "cpu", (1, 2))


def test_cuda():
    table = kernels.read("onnxruntime", "cuda", (1, 31))
    assert any(kernel.takes({"T": FLOAT16}) for kernel in table.of("", "MatMul", 13))
    assert not table.of("", "Det", 11)


@pytest.mark.parametrize(("runtime", "provider"), [("openvino", "cpu"), ("tensorrt", "gpu"), ("onnx", "reference")])
def test_operators_of_other_runtimes(runtime, provider):
    (version,) = kernels.releases(runtime, provider)
    table = kernels.read(runtime, provider, version)
    assert all(table.of("", op, defs.get_schema(op, 17).since_version) for op in ("MatMul", "Conv", "If", "Resize"))
    takes_double = any(kernel.takes({"T": FLOAT64}) for kernel in table.of("", "MatMul", 13))
    assert takes_double is (runtime == "onnx"), "the others compute float64 in float32"


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
    standard = {}
    for schema in defs.get_all_schemas_with_history():
        standard.setdefault((schema.domain, schema.name), set()).add(schema.since_version)
    table = installed()
    for key, found in table.kernels.items():
        versions = standard.get(key, set()) | {each.since for each in table.schemas.get(key, ())}
        assert all(any(kernel.serves(since) for since in versions) for kernel in found), key
