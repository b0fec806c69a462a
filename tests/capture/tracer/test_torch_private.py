"""What the tracer needs of torch beyond its promises. Each test says what to do when a new torch fails it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import ProxyTorchDispatchMode
from torch.fx.experimental.sym_node import SymNode

from fxonnx.capture.graph.other_sizes import REFUSALS
from fxonnx.capture.surroundings import uncompiled
from fxonnx.capture.tracer import torch_private
from fxonnx.capture.tracer.sizes.nodes import BoolNode, FloatNode, IntNode

NODES = (IntNode, FloatNode, BoolNode)
# of torch's SymNode: what only its own sympy needs, and what no size is asked
NOT_OURS = frozenset(["with_shape_env", "evaluate"])


def test_a_recorder_may_stand_at_the_pre_dispatch_key() -> None:
    """If this fails: see torch._ops._set_mode_pre_dispatch for which classes of modes it admits, and let
    `record.Recorder` be one of them; all it needs is `__torch_dispatch__` before CompositeImplicitAutograd ops are
    taken apart."""
    seen = []

    class Mode(torch_private.CallMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    with torch_private.enable_python_dispatcher(), Mode(whole=True):
        torch.nn.functional.linear(torch.ones(2, 3), torch.ones(4, 3))
    assert seen[-1] == "aten.linear.default"


@pytest.mark.parametrize("name", sorted(name for name in vars(SymNode) if not name.startswith("_")))
def test_our_nodes_answer_what_torchs_do(name: str) -> None:
    """If this fails: torch asks nodes of SymInts something new. Read in torch.fx.experimental.sym_node what it means,
    and add it to the class in `symbols` that it is asked of; to NOT_OURS if it cannot reach a size."""
    assert name in NOT_OURS or any(hasattr(kind, name) for kind in NODES)


def test_a_fake_tensor_has_sizes_of_ours() -> None:
    """If this fails: torch looks at a size in a new way while it makes a tensor. The traceback ends in a method that
    `nodes.IntNode` or `nodes.SymExpr` should have."""
    from fxonnx.capture.tracer.sizes.guards import GuardLog
    from fxonnx.capture.tracer.sizes.nodes import sym_int
    from fxonnx.ir.dims import symbol
    from fxonnx.location import Location

    n = sym_int(symbol("n"), 7, GuardLog({}, {}, {"n": 7}, Location))
    mode = torch_private.OneThread(RuntimeError)
    with mode, torch_private.enable_python_dispatcher():
        x = torch.empty(n, 4)
        y = torch.nn.functional.linear(x.view(-1, 2), torch.empty(3, 2))
    assert [str(each) for each in y.shape] == ["2*n", "3"]


def test_a_fake_tensor_is_made_of_a_meta_tensor() -> None:
    """If this fails: FakeTensor's constructor changed. See `_get_output_tensor_from_cache_entry` in
    torch/_subclasses/fake_tensor.py for how torch makes one of known geometry, and do so in `meta`."""
    mode = torch_private.OneThread(RuntimeError)
    with torch_private.in_kernel_invocation_manager(mode):
        memory = torch.empty_strided((2, 3), (3, 1), device="meta")
    made = torch_private.FakeTensor(mode, memory, torch.device("cpu"))
    assert made.shape == (2, 3) and made.device.type == "cpu" and made.fake_mode is mode


def test_plain_meta_tensors_need_no_python() -> None:
    """If this fails: see what torch/_dispatch/python.py turns the dispatcher off with, or leave it on in `twins` and
    `choices`, which costs time only. A view may go beyond nothing: `results` gives each storage room for any."""
    mode = torch_private.OneThread(RuntimeError)
    with torch_private.enable_python_dispatcher(), torch_private.in_kernel_invocation_manager(mode):
        with torch_private.no_python_dispatcher():
            key = torch._C.DispatchKey.PythonDispatcher
            assert not torch._C._dispatch_tls_is_dispatch_key_included(key)
            room = torch.empty(2**48, device="meta")
            product = torch.ops.aten.matmul.default(room.as_strided((2, 3), (3, 1)), torch.empty(3, 4, device="meta"))
            assert product.shape == (2, 4)
        assert torch._C._dispatch_tls_is_dispatch_key_included(key)


def test_kernels_refuse_by_name() -> None:
    """If this fails: add what is raised to `graph.other_sizes.REFUSALS`, or twins fail where torch is to be asked."""
    for call in (lambda x: x + x[:1, :2], lambda x: x.view(7), lambda x: x.sum(5), lambda x: torch.stack([])):
        with pytest.raises(REFUSALS):
            call(torch.empty(2, 3, device="meta"))


def test_models_can_ask_whether_they_are_exported() -> None:
    """If this fails: see what torch.compiler.is_exporting() reads, and set that in `as_exporting`."""
    asked: list[bool] = []
    with torch_private.as_exporting(True, lambda: asked.append(True)):
        assert torch.compiler.is_exporting() is True and torch.compiler.is_compiling() is True
    assert not asked
    with torch_private.as_exporting(False, lambda: asked.append(True)):
        assert torch.compiler.is_exporting() is False and torch.compiler.is_compiling() is False
    assert asked == [True, True]
    assert torch.compiler.is_exporting() is False and torch.compiler.is_compiling() is False


def test_models_can_ask_whether_a_tensor_is_fake() -> None:
    """If this fails: torch._subclasses.FakeTensor is another class, or another name is what torch's own files ask."""
    fake = torch_private.OneThread(RuntimeError).from_tensor(torch.ones(2))
    for is_fake in (True, False):
        with torch_private.passing_for_fake(lambda x, answer=is_fake: answer):
            assert isinstance(fake, torch._subclasses.FakeTensor) is is_fake
            assert not isinstance(2, torch._subclasses.FakeTensor)
            assert torch._prims_common.is_cpu_scalar_tensor(torch.ones(()))
    assert torch._subclasses.FakeTensor is torch_private.FakeTensor


def test_a_transformer_asks_no_mask() -> None:
    """If this fails: torch.nn.modules.transformer has another name for the function that compares a mask with the
    causal one; without `unasked_masks` nn.Transformer is captured only where it is told is_causal."""
    with torch_private.unasked_masks():
        assert not torch.nn.modules.transformer._detect_is_causal_mask(torch.ones(2, 2), None, 2)


def test_a_list_of_a_fake_tensor_is_asked_for() -> None:
    """If this fails: FakeTensor has no tolist() of its own any more, and `lists_asked` is not needed; or it does more
    than go through the elements."""
    own = torch_private.FakeTensor.tolist
    with torch_private.lists_asked():
        assert torch_private.FakeTensor.tolist is torch.Tensor.tolist
    assert torch_private.FakeTensor.tolist is own is not torch.Tensor.tolist


def test_wrappers_of_tensors_are_told() -> None:
    """If this fails: find torch's word for subclasses made of other tensors, or refuse every subclass of Tensor."""
    assert not torch_private.is_traceable_wrapper_subclass(torch.nn.Parameter(torch.ones(2)))


def test_what_fake_tensors_cannot_answer_is_raised_by_name() -> None:
    """If this fails: torch tells of data in another way. `record._UNANSWERED` has the exceptions that a model must not
    swallow; find in torch._subclasses.fake_impls what is raised now."""
    from fxonnx.capture.tracer.torch_private import DataDependentOutputException, DynamicOutputShapeException

    mode = torch_private.OneThread(RuntimeError)
    x = mode.from_tensor(torch.ones(3))
    with mode, pytest.raises(DataDependentOutputException):
        x.sum().item()
    with mode, pytest.raises(DynamicOutputShapeException):
        x.nonzero()


def test_modes_are_set_up_as_torchs_own() -> None:
    """If this fails: torch's constructor sets another field, or another value; see what reads it, and set it in
    `OneThread` or `CallMode`. What makes proxies, and where the mode was made, is of no use to us."""
    torchs, ours = FakeTensorMode(allow_non_fake_inputs=True), torch_private.OneThread(RuntimeError)
    torchs.cache_enabled, torchs._stack = False, ""
    assert vars(torchs).keys() - vars(ours).keys() == {"_stack_trace"}
    values = {
        name: value for name, value in vars(torchs).items() if value is None or isinstance(value, (bool, int, str))
    }
    assert {name: getattr(ours, name) for name in values} == values
    proxies = {"tracer", "tracing_mode", "decomposition_table", "_decomposition_table_stack", "decomp_layers"}
    proxies |= {"_allow_fake_constant", "_error_on_data_dependent_ops", "emulate_precision_casts"}
    proxies |= {"_invoke_subgraph_names", "_invoke_subgraph_cache"}
    recorder = vars(ProxyTorchDispatchMode(None, "fake", pre_dispatch=True))
    assert recorder.keys() - proxies == vars(torch_private.CallMode(whole=True)).keys()


PLAIN_CALLS = {
    "made": lambda x: torch.zeros(2, 3, dtype=torch.half),
    "made like another": torch.empty_like,
    "arange": lambda x: torch.arange(7, device=x.device),
    "a view": lambda x: x.transpose(0, 1)[1:],
    "composite": lambda x: torch.nn.functional.layer_norm(x, (4,)),
    "decomposed": lambda x: x.detach(),
    "of another dtype": lambda x: x.to(torch.int32) + 1.5,
    "in place": lambda x: x.add_(1),
    "several": lambda x: x.max(1)[1],
    "of a device": lambda x: x.to("meta"),
    "a product": lambda x: x.t() @ x,
}


@pytest.mark.parametrize("call", PLAIN_CALLS.values(), ids=PLAIN_CALLS)
def test_a_call_of_plain_sizes_returns_what_torchs_own_mode_does(call: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """If this fails: see the end of FakeTensorMode._dispatch_impl for how torch comes to a result where no size varies,
    and do so in `OneThread._of_plain_sizes`; or let that return NotImplemented, which costs the time to load sympy and
    torch._dynamo."""
    made = []
    for mode in (FakeTensorMode(), torch_private.OneThread(RuntimeError)):
        with mode:
            result = call(torch.empty(3, 4))
        made.append((result.shape, result.stride(), result.storage_offset(), result.dtype, result.device))
        assert result.fake_mode is mode
    assert made[0] == made[1]


def test_references_are_as_they_were() -> None:
    """If this fails: see torch._disable_dynamo for where it keeps what it calls for a function."""
    code = (
        "import sys, torch\n"
        "from fxonnx.capture.tracer.torch_private import _disabled_references, references_as_they_are\n"
        "x = torch.ones(2, device='meta')\n"
        "with references_as_they_are():\n"
        "    torch.where(x > 0, x, x)\n"
        "    assert 'torch._dynamo' not in sys.modules\n"
        "functions = _disabled_references()\n"
        "assert functions and not any('__dynamo_disable' in vars(each) for each in functions)\n"
        "torch.where(x > 0, x, x)\n"
        "assert 'torch._dynamo' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_is_compiled_with_a_model() -> None:
    """If this fails: torch.compile compiles while a model is recorded, our modes with it: see torch.compiler.set_stance
    for how to keep it from that, and `_should_skip_dynamo` for what torch does by default."""
    compiled: list[object] = []

    def backend(module: torch.nn.Module, inputs: list[torch.Tensor]) -> object:
        compiled.append(module)
        return module.forward

    @torch.compile(backend=backend)
    def double(x: torch.Tensor) -> torch.Tensor:
        return x + x

    with uncompiled():
        double(torch.ones(2))
    assert not compiled
    torch.compiler.reset()  # of what other tests compiled, and how often
    double(torch.ones(2))
    assert compiled


def test_a_mode_hears_of_calls_in_other_threads() -> None:
    """If this fails: fake tensors no longer find their mode by themselves in a thread without one. `OneThread` must
    learn of such calls in another way, or they are lost."""
    mode = torch_private.OneThread(lambda: heard.append(True) or RuntimeError("elsewhere"))
    heard: list[bool] = []
    x = mode.from_tensor(torch.ones(3))

    def work() -> None:
        with pytest.raises(RuntimeError, match="elsewhere"):
            x.add_(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert heard


def test_functions_of_tensors_reach_a_function_mode() -> None:
    """If this fails: torch no longer asks a TorchFunctionMode before it reads sizes, data or memory.
    `functions.FunctionMode` and `size_functions` need another place to stand: see torch.overrides."""
    seen: set[object] = set()

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.add(func)
            return func(*args, **(kwargs or {}))

    x = torch.ones(3)
    with Mode():
        _ = x.data, x[0], x.numpy(), x.data_ptr(), torch.tensor(1), torch.linspace(0, 1, 2), x.contiguous()
        x.data = x
    data = torch.Tensor.data
    assert {data.__get__, data.__set__, torch.Tensor.__getitem__, torch.Tensor.numpy} <= seen
    assert {torch.Tensor.data_ptr, torch.tensor, torch.linspace, torch.Tensor.contiguous} <= seen
