"""A file is called like its model, and refuses what it does not hold for."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fxonnx
from fxonnx import errors

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


@dataclass
class Output:
    """A result with names."""

    last: Tensor
    rest: tuple[Tensor, Tensor]


def nested(pair: tuple[Tensor, dict[str, Tensor]], scale: float = 2.0) -> Any:
    first, more = pair
    return {"sum": first + more["b"], "rest": [first * scale, None], "rows": first.shape[0]}


MODELS: dict[str, tuple[Any, tuple[Any, ...], Any]] = {
    "plain": (nn.Linear(4, 2), (X,), None),
    "tuple": (lambda x: (x + 1, x * 2), (X,), None),
    "nested": (nested, ((X, {"b": X}),), {"pair": ({0: "n"}, {"b": {0: "n"}})}),
    "complex": (lambda x: torch.fft.fft(x), (X + 1j,), None),
    "table": (lambda x: torch.arange(8)[: x.shape[0]] + x.sum(), (X,), {"x": {0: "n"}}),
    "constant": (lambda x, word: x * len(word), (X, "three"), None),
}


def same(one: Any, other: Any) -> None:
    torch.testing.assert_close(one, other) if other is not None else None


def loaded_of(tmp_path: Path, model: Any, args: Any, **options: Any) -> Any:
    fxonnx.compile(model, args, **options).save(tmp_path / "model.onnx")
    return fxonnx.load(tmp_path / "model.onnx")


@pytest.mark.parametrize("name", MODELS)
def test_it_returns_what_the_model_returns(name: str, tmp_path: Path) -> None:
    model, args, shapes = MODELS[name]
    compiled = fxonnx.compile(model, args, dynamic_shapes=shapes)
    compiled.save(tmp_path / "model.onnx")
    for each in (fxonnx.load(tmp_path / "model.onnx"), pickle.loads(pickle.dumps(compiled)), copy.deepcopy(compiled)):
        result = each(*args)
        expected = model(*args)
        assert type(result) is type(expected)
        torch.utils._pytree.tree_map(same, result, expected)
        assert "\n" not in repr(each) and len(repr(each)) < 300
    again = pickle.loads(pickle.dumps(fxonnx.load(tmp_path / "model.onnx")))
    torch.utils._pytree.tree_map(same, again(*args), model(*args))


def test_dataclasses_are_dicts(tmp_path: Path) -> None:
    found = loaded_of(tmp_path, lambda x: Output(x + 1, (x, x * 2)), (X,))(X)
    assert set(found) == {"last", "rest"} and torch.equal(found["rest"][1], X * 2)


def test_arrays_come_back_as_arrays(tmp_path: Path) -> None:
    found = loaded_of(tmp_path, lambda x: {"y": x + 1}, (X,))(X.numpy())
    assert isinstance(found["y"], np.ndarray) and np.array_equal(found["y"], X.numpy() + 1)


def test_by_name_and_from_threads(tmp_path: Path) -> None:
    loaded = loaded_of(tmp_path, MODELS["nested"][0], MODELS["nested"][1])
    assert [each.name for each in loaded.inputs] == ["pair.0", "pair.1.b"]
    assert torch.equal(loaded.run({"pair.0": X, "pair.1.b": X.numpy()})["sum"], X + X)
    with ThreadPoolExecutor(4) as threads:
        sums = list(threads.map(lambda n: loaded((X * n, {"b": X}))["sum"], range(16)))
    assert all(torch.allclose(each, X * (n + 1)) for n, each in enumerate(sums))


def test_sizes_that_it_does_not_hold_for_are_refused(tmp_path: Path) -> None:
    def table(x: Tensor) -> Tensor:
        return torch.arange(8)[: x.shape[0]] + x[:, 0] if x.shape[0] < 6 else x[:, 1]

    loaded = loaded_of(tmp_path, table, (X,), dynamic_shapes={"x": {0: "n"}})
    for count in (2, 5):
        x = torch.randn(count, 4)
        torch.testing.assert_close(loaded(x), table(x))
    for count in (6, 9):
        with pytest.raises(errors.CallMismatch, match=f"does not hold for n = {count}"):
            loaded(torch.randn(count, 4))


def test_the_cure_of_a_size_works(tmp_path: Path) -> None:
    def model(x: Tensor) -> Tensor:
        return x * 2 if x.shape[0] < 6 else x + 1

    compiled, path = fxonnx.compile(model, X, dynamic_shapes={"x": {0: "n", 1: "m"}}), tmp_path / "model.onnx"
    compiled.save(path)
    torch.testing.assert_close(fxonnx.load(path)(X[:1]), X[:1] * 2)
    with pytest.raises(errors.CallMismatch) as caught:
        fxonnx.load(path)(X[:, :1])
    assert caught.value.cure.startswith('compiled.save(path, guards="in file", ways=True)')
    compiled.save(path, guards="in file", ways=True)
    torch.testing.assert_close(fxonnx.load(path)(X[:, :1]), X[:, :1] * 2)
    for count in (0, 7):
        x = torch.randn(count, 4)
        with pytest.raises(errors.CallMismatch) as caught:
            fxonnx.load(path)(x)
        assert "ways=True" in caught.value.cure
        compiled(x)
        compiled.save(path, ways=True)
        torch.testing.assert_close(fxonnx.load(path)(x), model(x))


def test_the_models_own_checks_are_asked(tmp_path: Path) -> None:
    def model(x: Tensor) -> Tensor:
        assert (x >= 0).all(), "negative"
        return x.sqrt()

    loaded = loaded_of(tmp_path, model, (X.abs(),))
    torch.testing.assert_close(loaded(X.abs()), X.abs().sqrt())
    with pytest.raises(errors.CheckFailed, match="negative"):
        loaded(-X.abs())


def test_what_keeps_a_state_is_run_by_names(tmp_path: Path) -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(4))

        def forward(self, x: Tensor) -> Tensor:
            self.seen += x.sum(0)
            return self.seen * 2

    compiled = fxonnx.compile(Counting(), X)
    compiled.save(tmp_path / "model.onnx")
    loaded = fxonnx.load(tmp_path / "model.onnx")
    with pytest.raises(errors.CallMismatch) as caught:
        loaded(X)
    assert "loaded.run({'x': …, 'seen': …})" in caught.value.cure
    torch.testing.assert_close(loaded.run({"x": X, "seen": torch.ones(4)})["output"], (1 + X.sum(0)) * 2)
    with pytest.raises(errors.CannotWrite, match="keeps a state"):
        pickle.dumps(compiled)


@pytest.mark.parametrize(
    "call",
    [
        lambda f: f(), lambda f: f(X, X), lambda f: f(3), lambda f: f((X,)), lambda f: f((X, {"c": X})),
        lambda f: f((X, {"b": X}), y=X), lambda f: f((X, {"b": X}), pair=X), lambda f: f((X, {"b": X}), scale=3.0),
        lambda f: f((X, {"b": X.double()})), lambda f: f((X, {"b": 3})), lambda f: f((X, {"b": X[0]})),
        lambda f: f.run({}), lambda f: f.run({"x": X}), lambda f: f.run({"pair.0": X, "pair.1.b": None}),
        lambda f: f.run({"pair.0": X, "pair.1.b": np.array(["a"])}),
    ],
)  # fmt: skip
def test_calls_that_do_not_fit(call: Any, tmp_path: Path) -> None:
    loaded = loaded_of(tmp_path, MODELS["nested"][0], MODELS["nested"][1])
    with pytest.raises(errors.CallMismatch) as caught:
        call(loaded)
    assert caught.value.cause and caught.value.cure


def test_what_is_no_file_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    for path in (tmp_path / "missing.onnx", tmp_path, tmp_path / "text.onnx", None):
        with pytest.raises(errors.CannotRead):
            fxonnx.load(path)


def test_sessions_are_configured(tmp_path: Path) -> None:
    compiled = fxonnx.compile(nn.Linear(4, 2), X)
    compiled.save(tmp_path / "model.onnx")
    profile = str(tmp_path / "profile")
    options = {"enable_profiling": True, "profile_file_prefix": profile, "session.intra_op.allow_spinning": "0"}
    for configured in (
        compiled.configure(session_options=options, providers=["CPUExecutionProvider"]),
        fxonnx.load(tmp_path / "model.onnx", session_options=options, threads=1),
    ):
        torch.testing.assert_close(configured(X), compiled.model(X))
    assert list(tmp_path.glob("profile*"))


@pytest.mark.parametrize(
    "options",
    [
        {"providers": ["CUDAExecutionProvider"]}, {"providers": "CPUExecutionProvider"}, {"providers": []},
        {"session_options": {"no_such": 1}}, {"session_options": {"intra_op_num_threads": "many"}},
        {"session_options": 3}, {"custom_ops": "lib.so"}, {"custom_ops": ["missing.so"]}, {"threads": 0}, {"thread": 1},
    ],
)  # fmt: skip
def test_what_sessions_do_not_take(options: dict[str, Any], tmp_path: Path) -> None:
    compiled = fxonnx.compile(nn.Linear(4, 2), X)
    compiled.save(tmp_path / "model.onnx")
    for ask in (lambda: compiled.configure(**options)(X), lambda: fxonnx.load(tmp_path / "model.onnx", **options)):
        with pytest.raises(errors.InvalidOption) as caught:
            ask()
        assert caught.value.cause and caught.value.cure


def _runs(path: Path, x: Tensor) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options).run(None, {"x": x.numpy()})[0]


@pytest.mark.parametrize("opset", [None, 13, 17])
def test_guards_in_the_file_stop_any_runtime(opset: int | None, tmp_path: Path) -> None:
    def model(x: Tensor) -> Tensor:
        return x * 2 if x.shape[0] < 6 else x + 1

    from onnxruntime.capi.onnxruntime_pybind11_state import Fail

    compiled = fxonnx.compile(model, X, dynamic_shapes={"x": {0: "n", 1: "m"}}, opset=opset)
    path = tmp_path / "model.onnx"
    compiled.save(path, guards="in file")
    for shape in ((2, 4), (5, 9), (1, 4), (3, 1), (1, 1)):
        x = torch.randn(shape)
        np.testing.assert_allclose(_runs(path, x), model(x))
        torch.testing.assert_close(fxonnx.load(path)(x), model(x))
    with pytest.raises(Fail, match="holds_for"):
        _runs(path, torch.randn(6, 4))
    compiled(torch.randn(7, 4))
    compiled.save(path, guards="in file", ways=True)
    np.testing.assert_allclose(_runs(path, x := torch.randn(7, 4)), x + 1)
    for wrong in ("yes", None, True):
        with pytest.raises(errors.InvalidOption, match="guards"):
            compiled.save(path, guards=wrong)


def test_a_model_without_dims_needs_no_guards(tmp_path: Path) -> None:
    fxonnx.compile(nn.Linear(4, 2), X).save(tmp_path / "model.onnx", guards="in file")
    assert fxonnx.load(tmp_path / "model.onnx")(X).shape == (3, 2)


def test_a_container_that_is_there_twice(tmp_path: Path) -> None:
    """In the result and among the arguments: it is one."""

    def twice(pair: Any, x: torch.Tensor) -> Any:
        kept = [x + 1, (x * 2, {"more": x})]
        return {"first": kept, "again": [kept, pair["a"][0] + x], "last": kept[1][1]}

    both = [torch.ones(2)]
    arguments = ({"a": both, "b": both}, torch.arange(2.0))
    compiled = fxonnx.compile(twice, arguments)
    compiled.save(tmp_path / "twice.onnx")
    loaded = fxonnx.load(tmp_path / "twice.onnx")
    found, expected = loaded(*arguments), twice(*arguments)
    assert found["first"] is found["again"][0] and found["last"] is found["first"][1][1]
    torch.testing.assert_close(found, expected)
    with pytest.raises(errors.CallMismatch, match="one that stands before it"):
        loaded({"a": [torch.ones(2)], "b": [torch.ones(2)]}, torch.ones(2))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda compiled: pickle.loads(pickle.dumps(compiled))])
def test_a_copy_takes_a_batch_of_one(copied: Any) -> None:
    model = torch.nn.Linear(4, 3)
    compiled = fxonnx.compile(model, (torch.rand(2, 4),), dynamic_shapes=({0: "batch"},))
    x = torch.rand(1, 4)
    torch.testing.assert_close(copied(compiled)(x), model(x))


def chosen(x: torch.Tensor, flag: bool = False, y: Any = None, dtype: Any = torch.float32) -> torch.Tensor:
    return ((x * 2 if flag else x) if y is None else x + y).to(dtype)


CALLS: list[tuple[Any, ...]] = [
    (X,), (X, False), (X, True), (X, 0), (X, False, None), (X, False, X), (X, True, None),
    (X, False, None, torch.float32), (X, False, None, torch.float64), (X, False, X, torch.float64),
    (X, False, None, None),
]  # fmt: skip


@pytest.mark.parametrize("example", [(X,), (X, True), (X, False, None), (X, False, X), (X, False, None, torch.float64)])
def test_it_takes_what_the_model_as_compiled_takes(example: tuple[Any, ...], tmp_path: Path) -> None:
    compiled = fxonnx.compile(chosen, example)
    compiled.save(tmp_path / "model.onnx")
    loaded = fxonnx.load(tmp_path / "model.onnx")
    for call in CALLS:
        try:
            wanted = compiled(*call)
        except errors.CallMismatch:
            with pytest.raises(errors.CallMismatch):
                loaded(*call)
        else:
            same(loaded(*call), wanted)


def test_what_is_behind_a_default_that_is_no_constant_is_not_guessed(tmp_path: Path) -> None:
    model = lambda x, table=nn.Identity(), y=None: table(x) if y is None else x + y  # noqa: E731, B008
    fxonnx.compile(model, (X,)).save(tmp_path / "model.onnx")
    loaded = fxonnx.load(tmp_path / "model.onnx")
    same(loaded(X), X)
    with pytest.raises(errors.CallMismatch, match="3 arguments"):
        loaded(X, None, X)


@pytest.mark.parametrize("dims", [None, {"x": {0: "n"}}])
def test_it_asks_how_arguments_lie_in_memory(dims: Any, tmp_path: Path) -> None:
    model = lambda x: x.as_strided((2, 2), (1, 3)) * 1  # noqa: E731
    fxonnx.compile(model, torch.randn(4, 4), dynamic_shapes=dims).save(tmp_path / "model.onnx")
    loaded = fxonnx.load(tmp_path / "model.onnx")
    x = torch.randn(4, 4)
    same(loaded(x), model(x))
    np.testing.assert_array_equal(loaded(x.numpy()), model(x).numpy())
    for other in (x.t(), x.t().numpy()):
        with pytest.raises(errors.CallMismatch, match=r"strides \(1, 4\)"):
            loaded(other)
