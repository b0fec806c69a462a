"""The tables of other runtimes' operators say what those do."""

from importlib.util import find_spec

import pytest

from fxonnx import kernels
from fxonnx.tools.operators import openvino, reference


def test_the_evaluators_table_is_current():
    stored = kernels.read("onnx", "reference", kernels.releases("onnx", "reference")[-1])
    assert stored.kernels == reference().kernels, "run python -m fxonnx.tools.operators reference"


@pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed: fxonnx[openvino]")
def test_openvinos_table_is_current():
    stored = kernels.read("openvino", "cpu", kernels.releases("openvino", "cpu")[-1])
    assert stored.kernels == openvino().kernels, "run python -m fxonnx.tools.operators openvino"
