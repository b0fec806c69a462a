"""Sweeps: through processes and other executors, resumed, cached, with models that fail or end the process."""

import json
from concurrent.futures import ThreadPoolExecutor

import onnx
import pytest
import torch
from tests.tools.sweep import models
from torch import nn

import fxonnx
from fxonnx.errors import InvalidOption
from fxonnx.tools.sweep.cache import Cache
from fxonnx.tools.sweep.result import Result, read


@pytest.fixture
def threads():
    """An executor in this process."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


def lines(path):
    """The results of a file, as they came."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_processes():
    """One that ends its process ends nothing else."""
    entries = {"ends": models.ends, "small": "tests.tools.sweep.models:small"}
    found = fxonnx.sweep(entries, processes=1, seconds=0)
    assert {name: each.outcome for name, each in found.items()} == {"ends": "ended", "small": "right"}


def test_results(tmp_path, threads):
    """Entries come out each in its way, in the order given, with numbers or the error's words."""
    entries = {"small": models.small, "at 17": (models.small, {"opset": 17}), "refused": models.refused,
               "counts": models.counts}  # fmt: skip
    found = fxonnx.sweep(entries, executor=threads, results=tmp_path / "sweep.jsonl", seconds=0.01)
    assert {name: each.outcome for name, each in found.items()} == {
        "small": "right", "at 17": "right", "refused": "refused", "counts": "right"}  # fmt: skip
    assert found["at 17"].opset == 17 and found["small"].opset != 17
    assert found["small"].latency_ms > 0 and found["small"].eager_ms > 0 and found["small"].max_relative < 1e-4
    assert found["refused"].code == "FX003" and "refused: FX003" in str(found)
    assert {each["name"] for each in lines(tmp_path / "sweep.jsonl")} == set(entries)
    assert not found.ok and "3 of 4 right" in repr(found) and "at 17" in found._repr_mimebundle_()["text/html"]


def test_resumed(tmp_path, threads):
    """What has a line is not compiled again, unless something else is asked for."""
    path = tmp_path / "sweep.jsonl"
    came = []
    run = lambda entries: fxonnx.sweep(entries, executor=threads, results=path, seconds=0, progress=came.append)  # noqa: E731
    run({"a": models.small})
    run({"a": models.small, "b": models.counts})
    assert [each.name for each in came] == ["a", "b"]
    run({"a": (models.small, {"opset": 18}), "b": models.counts})
    assert [each.name for each in came] == ["a", "b", "a"] and read(path)["a"].opset == 18


def test_a_line_that_was_cut_short_is_passed_over(tmp_path, threads):
    """A process that is ended may leave half a line."""
    path = tmp_path / "sweep.jsonl"
    path.write_text('{"name": "a", "ask')
    found = fxonnx.sweep({"a": models.small}, executor=threads, results=path, seconds=0)
    assert found.ok and read(path)["a"].ok


@pytest.mark.parametrize("options", [{}, {"opset": 17}, {"optimize": False}])
def test_cached_by_content(tmp_path, threads, options):
    """The same model by another name is known; its file is whole, and computes the same."""
    first = fxonnx.sweep({"a": (models.small, options)}, executor=threads, cache=tmp_path, seconds=0)["a"]
    second = fxonnx.sweep({"b": (models.small, options)}, executor=threads, cache=tmp_path, seconds=0)["b"]
    assert not first.cached and second.cached and second.file == first.file and second.name == "b"
    model, (x,) = models.small()
    torch.testing.assert_close(fxonnx.load(second.file)(x), model(x))


def other_weights():
    """`small` with another number in it."""
    model, inputs = models.small()
    with torch.no_grad():
        model[0].weight[0, 0] += 1
    return model, inputs


def more_rows():
    """`small` for another size."""
    return models.small()[0], (torch.ones(5, 4),)


@pytest.mark.parametrize("other", [
    other_weights, more_rows, (models.small, {"opset": 18}), (models.small, {"optimize": False}),
    (models.small, {"dynamic_shapes": {"input": {0: "n"}}}), (models.small, {"output_names": ["y"]}),
    (models.small, {"target": fxonnx.Target.onnx()}),
])  # fmt: skip
def test_what_differs_is_not_taken_for_the_same(tmp_path, threads, other):
    """Weights, sizes, names and options are all in the key."""
    run = lambda entry: fxonnx.sweep({"a": entry}, executor=threads, cache=tmp_path, seconds=0)["a"]  # noqa: E731
    run(models.small)
    found = run(other)
    assert found.ok and not found.cached


def test_what_words_do_not_tell_is_not_taken_for_the_same(tmp_path, threads):
    """The words for two calibrations are the same, their batches are not."""
    for scale in (1.0, 9.0):
        batches = [torch.full((3, 4), scale)]
        entry = (models.small, {"precision": fxonnx.int8_static(batches)})
        found = fxonnx.sweep({"a": entry}, executor=threads, cache=tmp_path, seconds=0, verify=False)["a"]
        assert found.ok and not found.cached and found.file is None


def test_options_are_those_of_compile(tmp_path, threads):
    """Also those that act behind the lowered graph."""
    entry = (models.small, {"functions": [nn.Linear]})
    found = fxonnx.sweep({"a": entry}, executor=threads, cache=tmp_path, seconds=0)["a"]
    assert onnx.load(found.file).functions


def test_a_state_is_saved_as_it_was(tmp_path, threads):
    """Timing calls a model many times; its file begins where the model did."""
    found = fxonnx.sweep({"a": models.counts}, executor=threads, cache=tmp_path, seconds=0.01)["a"]
    assert [each.name for each in onnx.load(found.file).graph.input] == ["x", "calls"] and found.ok


def test_writers_at_once(tmp_path):
    """Who comes second finds the first one's, and leaves no draft."""
    cache, result = Cache(tmp_path), Result("a", "", "right", "")
    with cache.draft("k1") as one, cache.draft("k1") as two:
        one.model.write_text("one")
        two.model.write_text("two")
        assert one.keep(result).file == two.keep(result).file
    assert (tmp_path / "k1" / "k1" / "model.onnx").read_text() == "one"
    assert len(list((tmp_path / "k1").iterdir())) == 1 and cache.find("k1").cached and cache.find("k2") is None


@pytest.mark.parametrize("entries", [
    {}, None, {"a": 3}, {3: models.small}, {"a": (models.small, 17)}, {"a": lambda: models.small()},
])  # fmt: skip
def test_entries_that_are_none(entries):
    """Told before anything is started."""
    with pytest.raises(InvalidOption):
        fxonnx.sweep(entries)


def test_options_that_are_none(threads):
    """Told in the result, with the options that there are."""
    found = fxonnx.sweep({"a": (models.small, {"opsett": 3})}, executor=threads)["a"]
    assert found.outcome == "refused" and "opset" in found.message


def test_dask(tmp_path):
    """Through the executor of a cluster, whose workers are processes."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        found = fxonnx.sweep({"a": models.small, "b": models.refused}, executor=client.get_executor(), cache=tmp_path,
                             seconds=0)  # fmt: skip
    assert found["a"].ok and found["b"].outcome == "refused"
