"""A compiled model: call it, save it, look into it, check it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any

import torch

from fxonnx import errors, facts
from fxonnx.capture import Program
from fxonnx.capture.call.arrays import are_arrays, as_array, as_tensors
from fxonnx.capture.call.dense import check_call, of_another_kind
from fxonnx.capture.call.memory import check_layout, check_memory
from fxonnx.capture.call.plain import PlainCalls
from fxonnx.capture.graph.checks import refuse_failed
from fxonnx.capture.versions import Versions
from fxonnx.capture.weights.binding import bound
from fxonnx.capture.weights.names import standing_in
from fxonnx.errors import CallMismatch, Error
from fxonnx.errors.arguments import PROGRAM_NAMES, names_options
from fxonnx.file import Build, File
from fxonnx.options import check_options
from fxonnx.passes.pipeline import Stage
from fxonnx.runtime.configuration import DEFAULT, NO_OPTIONS, Configuration, on_device
from fxonnx.runtime.shapes import as_real
from fxonnx.saved.model import loads
from fxonnx.target import Target

if TYPE_CHECKING:
    from fxonnx.ir.graph import Graph
    from fxonnx.runtime.limits import Limits
    from fxonnx.runtime.others import OtherSession
    from fxonnx.runtime.session import Session
    from fxonnx.runtime.tune import Tuning
    from fxonnx.verification import Found, Report


class Compiled(File):
    """What `fxonnx.compile` returns. Calling it takes the model's arguments and returns the model's structure, computed
    in the runtime it was compiled for."""

    def __init__(
        self,
        model: Any,
        program: Program,
        target: Target,
        stages: tuple[Stage, ...],
        examples: Sequence[torch.Tensor],
        *,
        versions: Versions,
        mode: str,
        capture_seconds: float,
        build: Build,
    ) -> None:
        self.model = model
        self.program = program
        self.target = target
        self.stages = stages
        self.examples = tuple(examples)
        self.versions = versions
        self.mode = mode
        self.capture_seconds = capture_seconds
        self.configuration = DEFAULT
        self.tuning: Tuning | None = None
        self.functions: Mapping[str, tuple[str, str]] = {}  # modules that are functions of the file, see `compile`
        self._build = build
        self._variants: dict[int, Compiled] = {}  # by the id of their program, which they hold
        self._followers: list[Compiled] = []
        self._lock = Lock()
        # calls that write go one after the other: the next one reads what this one has written
        self._in_turn: AbstractContextManager[Any] = RLock() if program.writes else nullcontext()

    if not TYPE_CHECKING:  # to a type checker unknown names stay unknown

        def __getattr__(self, name: str) -> Any:
            """What torch.onnx's ONNXProgram has is said in fxonnx's words."""
            if name in PROGRAM_NAMES:
                raise AttributeError(f"a compiled model has no {name!r}: write {PROGRAM_NAMES[name]}")
            return object.__getattribute__(self, name)  # what a property met, or Python's own words

    # ── weights ──

    @names_options
    def rebind(self, state_dict: Mapping[str, Any] | None = None, *, strict: bool = True) -> Compiled:
        """Take other weights: those of a state dict, or the model's own as they are now. Nothing is captured again.

        What was computed of weights is computed anew, and the next call makes a new session. The model keeps its own,
        but for states, which belong to both. The tensors are referred to, not copied.

        Args:
            state_dict: tensors of the model's shapes by the model's names; they are converted to its dtypes.
            strict: whether all names have to be there, and no others; else what is missing stays as it is.

        Raises WeightsMismatch where they do not fit, or the model was captured for the value of one; ModelChanged where
        a module was exchanged.
        """
        check_options(strict=strict)
        if state_dict is None:
            self.versions.check_modules()
        binding = bound(self.model, self._build.names, state_dict, strict=strict)
        own = self.program.states
        build = self._build.bound(self._build.binding.updated(binding.without(own)))
        fresh = build.again(self)
        for state in own:
            with torch.no_grad():
                state.tensor.copy_(binding.tensors.get(state.key, state.tensor))
        fresh.configuration, fresh.functions, fresh.tuning = self.configuration, self.functions, self.tuning
        self.__dict__ = fresh.__dict__
        return self

    # ── running ──

    def followed_by(self, name: str, graph: Graph, in_place: Mapping[int, int]) -> Compiled:
        """The same program with a further stage: a graph with its inputs and outputs, some of these in the memory of
        inputs, by their indices. It shares the weights, and is configured with this one."""
        stages = (*self.stages, Stage(name, graph, 0.0, "legalized"))
        other = Compiled(
            self.model, self.program, self.target, stages, self.examples, versions=self.versions, mode=self.mode,
            capture_seconds=self.capture_seconds, build=self._build,
        )  # fmt: skip
        other.configuration, other.functions = replace(self.configuration, in_place=in_place), self.functions
        self._followers.append(other)
        return other

    @names_options
    def configure(
        self,
        *,
        threads: int | None = None,
        prepack: bool = True,
        providers: Sequence[Any] | None = None,
        session_options: Mapping[str, Any] = NO_OPTIONS,
        custom_ops: Sequence[str | os.PathLike[str]] = (),
        profile: bool = False,
    ) -> Compiled:
        """Choose how the session runs, from the next call on.

        Args:
            threads: of one operator; by default as many as torch uses.
            prepack: whether ONNX Runtime keeps packed copies of the weights for speed.
            providers: its execution providers, the preferred one first: `["CUDAExecutionProvider",
                "CPUExecutionProvider"]`, by default the target's; arguments and results are on the CPU (else see `to`).
            session_options: `{"enable_profiling": True, "session.intra_op.allow_spinning": "0"}`: attributes of
                onnxruntime.SessionOptions, and entries of its configuration; of OpenVINO, its properties.
            custom_ops: paths of shared libraries with operators of yours.
            profile: measure what each node takes, for `report()` and `show(costs=True)`.

        Raises InvalidOption; the session does for what only the runtime knows.
        """
        own = {} if providers is None else {"providers": providers}
        options: dict[str, Any] = {"threads": threads, "prepack": prepack, "profile": profile, **own,
                                   "session_options": session_options, "custom_ops": custom_ops}  # fmt: skip
        check_options(**options)
        return self._configured(Configuration(**options))

    def to(self, device: str | torch.device) -> Compiled:
        """Run on a device from the next call on, "cuda" or "cpu": tensors come from there, and results stay there.
        Raises InvalidOption where this runtime has none, or the model keeps a state."""
        return self._configured(on_device(self.configuration, device, keeps_state=bool(self.program.states)))

    def _configured(self, configuration: Configuration) -> Compiled:
        self.configuration = configuration
        self.__dict__.pop("session", None)
        for variant in self._variants.values():
            variant._configured(configuration)
        for follower in self._followers:
            follower._configured(replace(configuration, in_place=follower.configuration.in_place))
        return self

    @cached_property
    def session(self) -> Session | OtherSession:
        """The session of the target's runtime, made at the first call. Raises ModelChanged, RuntimeFailed."""
        return self.new_session(self.tuning.without if self.tuning else ())

    def new_session(self, without: Sequence[str] = ()) -> Session | OtherSession:
        """A session as configured, without some of ONNX Runtime's optimizers. Raises ModelChanged, RuntimeFailed."""
        from fxonnx.runtime.others import open_session

        self.versions.check(every_element=True)
        return open_session(self.target, self.emitted, self.graph, replace(self.configuration, without=without))

    def session_inputs(self) -> list[torch.Tensor]:
        """What a session takes for the example: its tensors, and the states that the model keeps."""
        return [*map(as_real, self.examples), *(state.tensor for state in self.program.states)]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the model returns for these arguments; where all tensors come as numpy arrays, arrays.

        Raises CallMismatch where they do not fit what was compiled, CheckFailed where the model itself refuses them,
        ModelChanged, RuntimeFailed.
        """
        try:
            return self._called(args, kwargs)
        except CallMismatch as error:
            facts.remind(error, self)
            raise

    def _called(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.versions.check()
        plain = self._plain_calls
        tensors = None if plain is None else plain.tensors(args, kwargs)
        if plain is None or tensors is None or self.limits.check(tensors) is not None:
            return self._call(args, kwargs)
        return plain.result(args, kwargs, self.session.run(tensors))

    @cached_property
    def _plain_calls(self) -> PlainCalls | None:
        program = self.program
        if program.writes or program.checks or program.by_layout:
            return None
        results = [leaf.meta.get("val") if isinstance(leaf, torch.fx.Node) else leaf for leaf in program.results]
        return PlainCalls.of(program.signature, [each.node.meta["val"] for each in program.inputs], results)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call that is looked into: of nested arguments, of a model that writes or checks."""
        with self._in_turn:  # what the call before leaves in an argument is this one's
            leaves, are_given_arrays = self._leaves(args, kwargs)
            tensors = [as_real(leaf) for leaf in leaves]
            variant = self.limits.check(tensors)
            if variant is not None:
                return self._variant(variant)(*args, **kwargs)
            results = self.session.run([*tensors, *(as_real(state.tensor) for state in self.program.states)])
            count = len(results) - len(self.program.checks)
            refuse_failed(self.program.checks, results[count:])
            return self._deliver(args, kwargs, leaves, results[:count], are_given_arrays)

    def _variant(self, program: Program) -> Compiled:
        """The model compiled once more, for sizes with which it takes a way of its own; it shares weights and states.
        Raises CallMismatch where that cannot be compiled."""
        with self._lock:
            if id(program) not in self._variants:
                self._variants[id(program)] = self._compiled_variant(program)
            return self._variants[id(program)]

    def _compiled_variant(self, program: Program) -> Compiled:
        try:
            variant = self._build(program, self.program)
        except Error as error:
            raise CallMismatch(
                "the model does not hold for the sizes of this call",
                cause=f"with them it takes a way of its own, which cannot be compiled: {error.what}",
                cure="call it with others, or compile it for these: leave the dims out of dynamic_shapes",
                location=error.locations,
            ) from error
        variant.configuration, variant.tuning, variant.examples = self.configuration, self.tuning, self.examples
        return variant

    def _leaves(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[torch.Tensor], bool]:
        """The tensors of a call, all plain and dense: the session reads their memory; and whether all were arrays.

        Raises CallMismatch."""
        signature, written = self.program.signature, [each.input for each in self.program.writebacks]
        given = signature.flatten(args, kwargs)
        leaves = as_tensors(signature.names, given, written)
        for name, leaf, is_complex in zip(signature.names, leaves, self._are_complex, strict=True):
            is_plain = type(leaf) is torch.Tensor and leaf.layout is torch.strided
            if not is_plain or leaf.is_nested or leaf.is_quantized:
                check_call(signature.names, leaves)
            if leaf.is_complex() is not is_complex:
                raise of_another_kind(name, leaf)
        check_memory(signature.names, leaves, written)
        self._check_layouts(leaves)
        return leaves, are_arrays(given)

    def _check_layouts(self, leaves: Sequence[torch.Tensor]) -> None:
        """Raises CallMismatch."""
        program = self.program
        sizes = self.limits.sizes([leaf.shape for leaf in leaves]) if program.by_layout else {}
        for index in program.by_layout:
            if program.shape(index, sizes) == [*leaves[index].shape]:  # another one is refused for that
                check_layout(program.signature.names[index], leaves[index], program.strides(index, sizes))

    @cached_property
    def _are_complex(self) -> tuple[bool, ...]:
        """Which inputs are complex; in the file those are real, with a last axis of 2."""
        return tuple(each.node.meta["val"].is_complex() for each in self.program.inputs)

    @cached_property
    def limits(self) -> Limits:
        """The sizes that the model holds for: a table of 512 positions, a branch on a size."""
        from fxonnx.runtime.limits import limits

        program = self.program
        return limits(
            self.graph.inputs, program.symbols.values(), program.assumptions, program.variant, program.beyond
        )

    def _deliver(
        self, args: tuple[Any, ...], kwargs: Any, leaves: Sequence[torch.Tensor], results: Sequence[torch.Tensor],
        as_arrays: bool,
    ) -> Any:  # fmt: skip
        """Results in the model's structure; what the model writes in place, or into objects that it is given, is
        written there."""
        program, remaining = self.program, iter(results)
        outputs = [self._output(leaf, remaining) for leaf in program.results]
        outputs = [as_array(output) for output in outputs] if as_arrays else outputs
        with torch.no_grad():
            for reshape in program.reshapes:
                reshape(leaves[reshape.input])
            for writeback, result in zip(self.program.writebacks, remaining, strict=False):
                _write(leaves[writeback.input], result)
            for state, result in zip(self.program.states, remaining, strict=False):
                _write(state.tensor, result)
        signature = program.signature
        if program.signature.effects.edits:
            computed = dict(zip(program.results, outputs, strict=True))
            new = [computed[leaf] if isinstance(leaf, torch.fx.Node) else leaf for leaf in program.rebound]
            signature.effects.apply(signature.bind(args, kwargs), new)
        return signature.unflatten(outputs[: len(program.outputs)])

    def _output(self, leaf: Any, results: Any) -> Any:
        if leaf is None:
            return None
        result = next(results)
        fake = leaf.meta.get("val") if isinstance(leaf, torch.fx.Node) else leaf
        if isinstance(fake, torch.Tensor):
            return torch.view_as_complex(result) if fake.is_complex() else result
        return result.item()

    def __reduce__(self) -> tuple[Any, ...]:
        """As a file that is loaded, with the ways that calls took so far: a copy holds no model, and does not change
        with it. Raises CannotWrite for a model that keeps a state, which its file has not."""
        if self.program.writes:
            raise errors.CannotWrite(
                "a compiled model that keeps a state cannot be pickled or copied",
                cause="its states are the model's own tensors, and a copy would have others",
                cure="copy and compile the model; or compiled.save(path), whose states are inputs and outputs",
            )
        without = self.tuning.without if self.tuning else ()
        configuration = replace(self.configuration, without=without, profile=False)
        return loads, (self.model_proto(ways=True).SerializeToString(deterministic=True), configuration)

    # ── checking ──

    def weights_in_model(self) -> AbstractContextManager[None]:
        """The model with the weights that this is bound to in the place of its own."""
        return standing_in(self.model, self._build.binding.tensors)

    def verify(
        self, *args: Any, seed: int = 0, rtol: float | None = None, atol: float | None = None, **kwargs: Any
    ) -> Report:
        """Compare with the model on fresh random inputs like the examples, and at a second size of every dynamic dim.

        Give arguments to compare on these instead. Parameters and buffers are left as they were. The report holds the
        largest absolute and relative error of every output; its `check()` raises VerificationFailed where one is beyond
        the tolerance of its dtype, or `atol + rtol · |expected|` where one of these is given. Raises ModelChanged.
        """
        from fxonnx.verification import verify, verify_on

        check_options(seed=seed, rtol=rtol, atol=atol)
        self.versions.check(every_element=True)
        tolerances = {"rtol": rtol, "atol": atol}
        return verify_on(self, args, kwargs, tolerances) if args or kwargs else verify(self, seed, tolerances)

    def locate(self, *args: Any, rtol: float | None = None, atol: float | None = None, **kwargs: Any) -> Found:
        """Compare every intermediate value of one run with PyTorch's, on these arguments or on the example's.

        `found.first` is the first value that differs, with its node and its line of the model; printed, it is a table
        with the largest errors first. Writes to nothing. Raises CallMismatch, ModelChanged, RuntimeFailed.
        """
        from fxonnx.verification import locate

        check_options(rtol=rtol, atol=atol)
        self.versions.check(every_element=True)
        leaves = self._leaves(args, kwargs)[0] if args or kwargs else list(self.examples)
        return locate(self.for_sizes(leaves), leaves, {"rtol": rtol, "atol": atol})

    def for_sizes(self, leaves: Sequence[torch.Tensor]) -> Compiled:
        """What runs a call with these tensors: itself, or what is compiled for a way of its own that their sizes take.
        Raises CallMismatch."""
        other = self.limits.check([as_real(each) for each in leaves])
        return self if other is None else self._variant(other)


def _write(tensor: torch.Tensor, result: torch.Tensor) -> None:
    """What the file returns for a tensor that the model writes to, written there."""
    tensor.copy_(torch.view_as_complex(result) if tensor.is_complex() else result)
