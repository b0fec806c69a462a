"""In tests, every graph that a pass leaves is verified: a pass that breaks one is named where it does."""

from __future__ import annotations

from collections.abc import Iterator
from weakref import WeakSet

import pytest
from hypothesis import settings

from fxonnx import machines
from fxonnx.ir import schema
from fxonnx.ir.graph import Graph
from fxonnx.ir.verify import verify
from fxonnx.passes.pipeline import Pass
from fxonnx.target import Target

# What fails, fails for everybody, and on a slow machine no more than on a fast one.
settings.register_profile("fxonnx", deadline=None, derandomize=True)
settings.load_profile("fxonnx")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`pytest --update-golden` writes the results in tests/golden; read the difference before you commit it."""
    parser.addoption("--update-golden", action="store_true", help="write what is found into tests/golden")


@pytest.fixture(autouse=True, scope="session")
def unknown_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a test compiles does not depend on the machine that it runs on, nor on what was measured on that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(machines, "family", lambda: "")
        yield


@pytest.fixture(autouse=True, scope="session")
def verified_passes() -> Iterator[None]:
    """Wrap the call of every pass.

    A graph in an older opset is looked at once `guard` has let it through: before, what it lacks there is the user's
    error, and dtypes are yet to be mended by `widen`.
    """
    run, verified_before = Pass.__call__, WeakSet[Graph]()

    def verified(self: Pass, graph: Graph, target: Target) -> Graph:
        result = run(self, graph, target)
        if self.name == "guard":
            verify(result)
        elif result is not graph and result.opset == schema.NEWEST:
            verify(result, admitted=False, since=graph if graph in verified_before else None)
            verified_before.add(result)
        return result

    Pass.__call__ = verified  # type: ignore[method-assign]
    yield
    Pass.__call__ = run  # type: ignore[method-assign]
