"""The compiler on one page: capture, lower, optimize, legalize."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from fxonnx import machines
from fxonnx.capture import Program, example_call
from fxonnx.capture import capture as capture_program
from fxonnx.capture.call.memory import check_memory
from fxonnx.capture.call.observed import from_examples
from fxonnx.capture.graph.decompose import Decomposer
from fxonnx.capture.modules import modules_of, named_modules
from fxonnx.capture.state.as_found import AsFound
from fxonnx.capture.surroundings import ONE_AT_A_TIME
from fxonnx.capture.tracer.torch_private import references_as_they_are
from fxonnx.capture.versions import Versions
from fxonnx.capture.weights.binding import Binding
from fxonnx.capture.weights.files import extents_of, from_files
from fxonnx.capture.weights.names import Owned, lacks_memory, named, owned
from fxonnx.collection import collection_paused
from fxonnx.compiled import Compiled
from fxonnx.emit.names import Names
from fxonnx.emit.weights import is_path
from fxonnx.entries import takes_entries
from fxonnx.errors import CaptureRefused, InvalidOption
from fxonnx.errors.arguments import names_options
from fxonnx.file import Holds
from fxonnx.ir.extent import NO_EXTENTS, Extents
from fxonnx.ir.graph import Graph
from fxonnx.lowering.importer import import_program
from fxonnx.lowering.own import layered
from fxonnx.lowering.registry import Registry, standard
from fxonnx.machines import Machine
from fxonnx.options import check_options
from fxonnx.passes.in_place import in_place
from fxonnx.passes.legalize import LEGALIZE, newest_that_runs
from fxonnx.passes.optimize import pipeline_for, switched_off
from fxonnx.passes.pipeline import Pipeline, Stage
from fxonnx.passes.precision import Precision, requested
from fxonnx.passes.rewriting.rewrite import Rule
from fxonnx.passes.ways import Way, guarded, with_ways
from fxonnx.progress import Listener, listening, step
from fxonnx.runtime.nonempty import never_empty
from fxonnx.runtime.observe import observed
from fxonnx.runtime.shapes import as_real
from fxonnx.saved.model import MUST_BE_TRUE
from fxonnx.target import Target


@names_options
@takes_entries
def compile(
    model: Any,
    example_inputs: Any = (),
    example_kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    examples: Sequence[Any] | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    target: Target | None = None,
    opset: int | None = None,
    optimize: bool | Mapping[str, bool] = True,
    rules: Sequence[Rule] = (),
    lowerings: Mapping[str, Callable[..., Any]] | None = None,
    functions: str | Sequence[type | str] = (),
    precision: str | Precision | None = None,
    weights: str | os.PathLike[str] | None = None,
    adapters: Sequence[str] = (),
    mode: str = "eval",
    capture: str = "auto",
    hints: Mapping[str, Sequence[int]] | None = None,
    tune: bool | float = False,
    verify: bool = False,
    progress: Listener | None = None,
    dump: str | os.PathLike[str] | None = None,
) -> Compiled:
    """Compile a model to ONNX, ready to be called, saved and inspected.

    Args:
        model: an nn.Module, a function of tensors, a torch.fx.GraphModule or an ExportedProgram. Or several, which
            share weights in their files: `{"prefill": (model, args), "decode": (model, args, kwargs, options)}`.
        example_inputs: positional arguments, a tuple (a lone tensor counts as one); they may nest. Their dtypes and
            static sizes are compiled in. An ExportedProgram brings its own.
        example_kwargs: keyword arguments.
        dynamic_shapes: which sizes may change: `{"x": {0: "batch"}}`, torch.export's form, or "auto".
        examples: calls, `[(x1,), (x2,)]` or what `observe` has seen, in place of these three: what varies is dynamic.
        input_names, output_names: names in the file, in the order of the flattened inputs and outputs.
        target: what the file must run on; by default the installed ONNX Runtime.
        opset: the ONNX operator set to write, 9 to the newest; by default the target's.
        optimize: whether to rewrite for speed, or `{"rule": False}`; the result computes the same either way.
        rules: further rewrite rules, tried before fxonnx's own.
        lowerings: `{"namespace.op": function}`, this call's own lowerings (see `register_lowering`).
        functions: classes of modules that are functions of the file, `[Block]` or "all"; equal modules share one.
        precision: "float16", "bfloat16", "int8-dynamic", "int8-weights", "int4-weights", `int8_static(batches)`, or an
            object that says more: `int4_weights(keep=["head"])`.
        weights: safetensors files (one, an index, a folder) with the weights of a model on the meta device or of fake
            tensors; they are mapped, and a saved model refers to them.
        adapters: names of parameters, or patterns ("*.lora_?.*"), that stay inputs of the file, with their values for
            defaults: nothing is computed of them at compile time.
        mode: "eval", "train" or "keep": the mode the model is captured in; it is left as it was found.
        capture: chooses nothing any more: there is one way, which "auto" and "trace" were names of.
        hints: `{"seq": [16, 128]}`, sizes of dynamic dims to be fast at; by default the example's. Forms of operators
            are chosen by them, where this machine is known (see `fxonnx.machine`).
        tune: try out what is fastest on this machine, for a minute or so many seconds, once for each graph.
        verify: compare with the model on fresh inputs before returning.
        progress: a function that is told each `Step`, when it begins and when it is done; raising there ends it all.
        dump: a directory that receives the print-out of every stage.

    Raises an `errors.Error`, with a code, the place in the model, the cause and the cure; `Failures` for several.
    """
    given = from_examples(model, example_inputs, example_kwargs, dynamic_shapes, input_names, examples)
    check_options(progress=progress)
    with collection_paused(), listening(progress):
        compiled = lower(
            model, given.args, given.kwargs, dynamic_shapes=given.dynamic_shapes, input_names=input_names,
            output_names=output_names, target=target, opset=opset, optimize=optimize, rules=rules, lowerings=lowerings,
            functions=functions, precision=precision, weights=weights, adapters=adapters, mode=mode, capture=capture,
            hints=hints, tune=tune, verify=verify, dump=dump,
        ).compiled()  # fmt: skip
    if dump is not None:
        compiled.dump(Path(dump))
    if verify:
        compiled.verify().check()
    return compiled


def lower(
    model: Any, example_inputs: Any, example_kwargs: Mapping[str, Any] | None, *, dynamic_shapes: Any,
    input_names: Sequence[str] | None, output_names: Sequence[str] | None, target: Target | None, opset: int | None,
    optimize: bool | Mapping[str, bool], rules: Sequence[Rule], lowerings: Mapping[str, Callable[..., Any]] | None,
    functions: str | Sequence[type | str], precision: str | Precision | None, weights: Any, adapters: Sequence[str],
    mode: str, hints: Mapping[str, Sequence[int]] | None, tune: bool | float, **rest: Any,
) -> Lowered:  # fmt: skip
    """The first half of `compile`, with its options: a model captured and lowered, to be compiled."""
    with ONE_AT_A_TIME, (found := AsFound()), found, references_as_they_are():
        check_options(target=target, opset=opset, optimize=optimize, rules=rules, lowerings=lowerings, hints=hints,
                      functions=functions, adapters=adapters, input_names=input_names, output_names=output_names,
                      tune=tune, **rest)  # fmt: skip
        modules = modules_of(model, functions)
        model, extents = (model, NO_EXTENTS) if weights is None else from_files(model, weights)
        target = resolve_target(target, opset)
        asked = requested(precision, target.opset)
        args, kwargs = example_call(model, example_inputs, example_kwargs)
        start = perf_counter()
        with step("capture"):
            program = capture_program(model, args, kwargs, dynamic_shapes=dynamic_shapes,
                                      input_names=input_names, mode=mode)  # fmt: skip
        captured = perf_counter() - start
        registry = layered(standard(), lowerings or {})
        observe = partial(observed, _calibration_inputs(asked, program))
        pipeline = pipeline_for(tuple(rules), asked, observe, optimize=optimize)
        examples = program.signature.flatten(args, kwargs)
        check_memory(program.signature.names, examples, [each.input for each in program.writebacks])
        target = on_this_machine(target, program.sizes_of(examples), hints or {}, optimize)
        names = owned(model)
        if asked is not None and names:
            asked.check_names([*names, *named_modules(model)])
        binding = Binding(extents=extents, adapters=named(names, adapters))
        build = _Build(model, mode, registry, pipeline, target, opset, output_names, names, binding, asked)
        lowered = build.lower(binding(program), examples, captured)
        registry.warn_of_unused()
        return replace(lowered, tune=tune, functions=modules)


def _calibration_inputs(precision: Precision | None, program: Program) -> list[list[torch.Tensor]]:
    """The flat inputs of a graph for each batch of a calibration: a tensor, positional arguments, or keyword arguments
    by name; and states as they are."""
    found = []
    for batch in precision.calibration.batches if precision and precision.calibration else ():
        kwargs = batch if isinstance(batch, dict) else {}
        args = () if kwargs else tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
        leaves = program.signature.flatten(args[: len(program.signature.names)], kwargs)
        real = [*map(as_real, leaves)]
        found.append([*real, *(state.tensor for state in program.states)])
    return found


@names_options
def export(
    model: Any,
    example_inputs: Any,
    path: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] = "auto",
    opset: int | None = None,
    **options: Any,
) -> Compiled:
    """Compile to standard ONNX operators only and save: `fxonnx.export(model, (x,), "model.onnx", opset=17)`.

    Takes the options of `compile`. Raises its errors, CannotWrite and TooLarge.
    """
    options.setdefault("target", Target.onnx(opset) if opset is not None else Target.onnx())
    if is_path(weights) and lacks_memory(model):
        options["weights"], weights = weights, "auto"
    compiled = compile(model, example_inputs, **options)
    compiled.save(path, weights=weights)
    return compiled


def resolve_target(target: Target | None, opset: int | None) -> Target:
    """The target to compile for: the one given, at the opset given. Raises OpsetOutOfRange."""
    target = target or Target.onnxruntime()
    return target if opset is None else target.at(opset)


def on_this_machine(
    target: Target, example: Mapping[str, int], hints: Mapping[str, Sequence[int]], optimize: bool | Mapping[str, bool]
) -> Target:
    """The target with what is known of this machine, for the example's sizes and those that were hinted at; without
    the forms that are switched off.

    Raises InvalidOption for a hint at a dim that there is not.
    """
    if strange := hints.keys() - example.keys():
        raise InvalidOption(
            f"hints names {', '.join(sorted(map(repr, strange)))}",
            cause=f"the dynamic dims are {', '.join(sorted(example)) or 'none'}",
            cure="name dims as dynamic_shapes does",
        )
    if target.kernels is None or not target.is_measured:
        return target
    if optimize is False:
        return replace(target, machine=Machine(overflows=machines.overflows()))
    profile = target.machine.profile or machines.this_machine(target.kernels.release)
    workloads = [{**example, **dict(zip(hints, sizes, strict=True))} for sizes in product(*hints.values())]
    machine = Machine(profile, workloads, without=switched_off(optimize), overflows=machines.overflows())
    return replace(target, machine=machine)


@dataclass(frozen=True, slots=True)
class _Build:
    """How the programs of a model are compiled: the one that was captured, and its variants."""

    model: Any
    mode: str
    registry: Registry
    pipeline: Pipeline
    target: Target
    opset: int | None
    output_names: Sequence[str] | None
    names: Mapping[str, Owned]  # what the model called its tensors
    binding: Binding
    precision: Precision | None = None
    digests: dict[int, int] = field(default_factory=dict)  # of the model's weights, by their ids

    def __call__(self, program: Program, general: Program) -> Compiled:
        """A variant of the model's program, compiled; it shares the states of the general one."""
        return self.lower(self.binding(program).beside(general)).finish()

    def bound(self, binding: Binding) -> _Build:
        """The same with other tensors for the model's."""
        return replace(self, binding=binding, digests={})

    def again(self, compiled: Compiled) -> Compiled:
        """The program of what was compiled, compiled once more. Raises WeightsMismatch."""
        program = self.binding(compiled.program)
        return self.lower(program, compiled.examples, compiled.capture_seconds).finish()

    def lower(self, program: Program, examples: Sequence[Any] = (), captured: float = 0.0) -> Lowered:
        """A program, lowered; `captured` says in how many seconds it was captured."""
        start = perf_counter()
        weights = [*program.weights.values(), *(each.weight for each in program.known)]
        versions = Versions(self.model, weights, self.digests)
        with ONE_AT_A_TIME, (found := AsFound()), found, step("lower") as left:  # decompositions are recorded
            program, graph = _lower(program, self.registry, self.target, self.output_names)
            left(graph.count)
        stage = Stage("lower", graph, perf_counter() - start, "lowered")
        return Lowered(self, program, stage, examples, versions, captured)

    def with_ways(self, general: Compiled, ways: Sequence[tuple[Holds, Compiled]], holds: Holds = ()) -> Graph:
        """The final graph of the general program and of others, each of which computes where it holds; it stops where
        none of what it `holds` for does. Raises NoWay."""
        graph = general.optimized
        if ways:
            graph = with_ways(graph, [Way(sizes, compiled.optimized) for sizes, compiled in ways])
        graph = guarded(graph, holds) if holds else graph
        target = newest_that_runs(graph, self.target) if self.opset is None else self.target
        *_, legal = LEGALIZE.stages(graph, target)
        return legal.graph


@dataclass(frozen=True, slots=True)
class Lowered:
    """A model half compiled: its program, and the stage of it that is lowered."""

    build: _Build
    program: Program
    stage: Stage
    examples: Sequence[Any]
    versions: Versions
    capture_seconds: float
    tune: bool | float = False
    functions: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def compiled(self) -> Compiled:
        """Finished as was asked for; it is known to take its example."""
        with collection_paused():
            compiled = self.tuned(self.tune) if self.tune else self.finish()
            compiled.functions = self.functions
            compiled.take_example()
        return compiled

    @property
    def target(self) -> Target:
        """What it is compiled for."""
        return self.build.target

    def on(self, machine: Machine) -> Lowered:
        """The same for another machine."""
        return replace(self, build=replace(self.build, target=replace(self.build.target, machine=machine)))

    def tuned(self, seconds: float) -> Compiled:
        """Finished as is fastest on this machine, see `fxonnx.runtime.tune`; True counts as a minute of trying."""
        from fxonnx.runtime.tune import SECONDS, show_progress, tuned

        with show_progress() as progress:
            compiled: Compiled = tuned(self, SECONDS if seconds is True else seconds, progress)
            return compiled

    def finish(self) -> Compiled:
        """Optimized, legalized, and ready to be called."""
        build = self.build
        target, stages = _stages(self.stage, build.pipeline, build.target, build.opset)
        stages = (*stages, *_in_place(stages[-1].graph, extents_of(self.program), target))
        program = self.program.without_empty(never_empty(stages[-1].graph))
        return Compiled(build.model, program, target, stages, self.examples, versions=self.versions, mode=build.mode,
                        capture_seconds=self.capture_seconds, build=build)  # fmt: skip


def _stages(lowered: Stage, optimizer: Pipeline, target: Target, opset: int | None) -> tuple[Target, tuple[Stage, ...]]:
    """All stages from the lowered one on, for a target: at the newest opset that runs the graph where none is asked
    for."""
    stages = [lowered, *optimizer.stages(lowered.graph, target)]
    if opset is None:
        target = newest_that_runs(stages[-1].graph, target)
    return target, (*stages, *LEGALIZE.stages(stages[-1].graph, target))


def _in_place(graph: Graph, extents: Extents, target: Target) -> Iterator[Stage]:
    """The stage that leaves weights in files as they are, where there are any."""
    start = perf_counter()
    if extents:
        yield Stage("in_place", in_place(graph, extents, target), perf_counter() - start, "legalized")


def _lower(
    program: Program, registry: Registry, target: Target, output_names: Sequence[str] | None
) -> tuple[Program, Graph]:
    """The IR of a program, and the program with what the decompositions on the way assumed."""
    outputs = program.signature.output_names(output_names)
    names = Names(taken={*program.signature.names, *outputs})
    program = replace(program, states=tuple(replace(each, key=names.unique(each.key)) for each in program.states))
    decomposer = Decomposer(program)
    graph = import_program(program, registry, decomposer, target.opset)
    if not graph.outputs:
        raise CaptureRefused(
            "the model returns no tensor",
            cause="it returns Python values that do not depend on its inputs, and writes to nothing"
            if program.inputs else "the example has none: what is no tensor, an array of numpy too, is compiled in",
            cure="return the tensors that are to be computed" if program.inputs else "give tensors: torch.as_tensor(x)",
        )  # fmt: skip
    written = program.names_written()
    checks = (f"{MUST_BE_TRUE}{number}" for number, _ in enumerate(program.checks))
    outputs = (*outputs, *map(names.unique, (*map(_after, written), *checks)))
    return program.assuming(decomposer.assumptions), replace(graph, output_names=outputs)


def _after(name: str) -> str:
    """What the new value is called of something that a call writes to; a cache's is a "present" one already."""
    return name if name.startswith("present.") else f"{name}.after"
