"""The table of ops that random programs are made of.

A line is a template of Python. What stands behind a colon is the kind of an argument, as `kinds.py` has them:

    any number float integer bool     a tensor of such a dtype; `float>=2`, `float==3`: of such a rank too
    like x, broadcast x               a tensor that broadcasts with x, of its dtype or of any
    same x, shaped x integer          a tensor of x's shape, of its dtype or of a class of dtypes
    into x, typed x, along x          a tensor that broadcasts to x; of its dtype; of its dtype and rank
    right x, part x                   a right operand of x.t() @ ; a tensor of the shape of x[0]
    dim x, dims x, order x, axis x d  an axis of x, several, all of them shuffled; a position on axis d of x
    size, scalar x, flag, dtype       a size, a number that suits x, True or False, a dtype
    bound, step                       of a slice
    weight (3, x[-1])                 a tensor of the model's own, of x's dtype; in the kind, x is its shape
    = a b c                           one of these words
"""

from tests.fuzz.program import Op


def _family(name: str, lines: str) -> list[Op]:
    return [Op(name, line.strip()) for line in lines.splitlines() if line.strip()]


POINTWISE = _family("pointwise", """
    {x:number} {o:= + - *} {y:like x}
    {x:number} {o:= + - * /} {s:scalar x}
    {s:= 1 0.5 -2 True} {o:= + - *} {x:number}
    {x:number} {o:= + - * /} {y:broadcast x}
    {x:number} {o:= + - *} {n:size}
    torch.{f:= relu neg abs sign square}({x:number})
    torch.{f:= exp tanh sigmoid erf sin floor ceil round trunc log sqrt rsqrt reciprocal expm1 log1p}({x:float})
    F.{f:= gelu silu elu softplus leaky_relu hardswish hardtanh hardsigmoid mish relu6}({x:float})
    {x:number} ** {s:= 2 3 0 1}
    {x:float} ** {s:= 0.5 -1 -0.5}
    {x:float} / {n:size}
    {x:number} // {s:scalar x}
    {x:number} % {s:scalar x}
    {x:integer} // {y:broadcast x}
    {x:number} % {y:broadcast x}
    torch.fmod({x:number}, {s:scalar x})
    torch.{f:= maximum minimum fmax fmin}({x:number}, {y:broadcast x})
    torch.{f:= maximum minimum}({x:number}, {y:like x})
    torch.atan2({x:float}, {y:like x})
    torch.clamp({x:number}, {s:scalar x}, {t:scalar x})
    torch.clamp({x:number}, min={s:scalar x})
    torch.clamp({x:number}, max={y:like x})
    torch.lerp({x:float}, {y:like x}, 0.25)
    torch.addcmul({x:number}, {y:like x}, {z:like x}, value=2)
    {x:number}.to({t:dtype})
    {x:number}.{f:= float double half long int bool}()
    torch.nan_to_num({x:float})
    torch.div({x:number}, {y:broadcast x}, rounding_mode="{r:= floor trunc}")
    torch.rsub({x:number}, {y:like x})
    torch.heaviside({x:number}, {y:like x})
    torch.{f:= logaddexp hypot copysign}({x:float}, {y:like x})
    torch.bitwise_{f:= and or xor}({x:integer}, {y:like x})
    {x:integer} {o:= << >>} {s:= 1 2 0}
    ~{x:integer}
""")

COMPARE = _family("compare", """
    {x:number} {o:= > >= < <= == !=} {s:scalar x}
    {x:number} {o:= > >= < <= == !=} {y:broadcast x}
    {x:bool} {o:= & | ^} {y:like x}
    ~{x:bool}
    torch.logical_{f:= and or xor}({x:any}, {y:broadcast x})
    torch.logical_not({x:any})
    torch.where({c:bool}, {x:any}, {y:broadcast x})
    torch.where({x:number} > {s:scalar x}, {x}, {y:broadcast x})
    torch.where({x:number} > {s:scalar x}, {x}, {t:scalar x})
    torch.where({c:bool}, {s:= 1 0.5}, {t:= 0 -2})
    torch.{f:= isnan isinf isfinite}({x:float})
    {x:number}.masked_fill({c:shaped x bool}, {s:scalar x})
    {x:number}.masked_fill({x} > {t:scalar x}, {s:scalar x})
    torch.eq({x:any}, {y:like x})
    {x:any}.type_as({y:any})
    {x:any} + {y:any}
""")

REDUCTION = _family("reduction", """
    {x:any}.sum()
    {x:any}.sum({d:dim x})
    {x:any}.sum({d:dims x}, keepdim={k:flag})
    {x:float}.mean({d:dims x}, keepdim={k:flag})
    {x:float}.mean()
    {x:number}.{f:= amax amin}({d:dims x}, keepdim={k:flag})
    {x:number}.{f:= max min}()
    {x:number}.{f:= max min}({d:dim x}, keepdim={k:flag})
    {x:any}.{f:= any all}()
    {x:any}.{f:= any all}({d:dim x}, keepdim={k:flag})
    {x:any}.prod({d:dim x})
    {x:float}.{f:= var std}({d:dim x}, correction={c:= 0 1}, keepdim={k:flag})
    {x:float}.norm(dim={d:dim x})
    torch.linalg.vector_norm({x:float}, ord={o:= 1 2 3 float("inf")}, dim={d:dims x})
    torch.logsumexp({x:float}, {d:dims x}, keepdim={k:flag})
    {x:any}.cumsum({d:dim x})
    {x:number}.cumprod({d:dim x})
    {x:number}.{f:= cummax cummin}({d:dim x})[0]
    torch.logcumsumexp({x:float}, {d:dim x})
    torch.count_nonzero({x:any}, dim={d:dim x})
    {x:any}.sum(dtype={t:dtype})
    torch.{f:= var_mean std_mean}({x:float}, {d:dim x})
    torch.aminmax({x:number}, dim={d:dim x})
    torch.diff({x:number}, dim={d:dim x})
    {x:number}.trace()
""")

SORTING = _family("sorting", """
    {x:number}.sort({d:dim x}, descending={k:flag})[0]
    {x:number}.sort(stable=True, dim={d:dim x}, descending={k:flag})
    {x:number}.topk({k:= 1 2}, {d:dim x}, largest={l:flag})[0]
    {x:number}.topk(min({n:size}, {x}.shape[{d:dim x}]), {d})[0]
    {x:number}.{f:= argmax argmin}()
    {x:number}.{f:= argmax argmin}({d:dim x}, keepdim={k:flag})
    {x:number}.argsort(stable=True, dim={d:dim x})
    {x:number}.kthvalue({k:= 1 2}, {d:dim x})[0]
    {x:number}.median({d:dim x})[0]
    torch.searchsorted({x:number==1}.sort()[0], {y:typed x})
    torch.bucketize({x:number}, torch.tensor([-1.0, 0.0, 2.0]))
""")

PRODUCT = _family("product", """
    {x:float>=2} @ {y:like x}
    {x:float>=2} @ {y:like x}.transpose(-1, -2)
    {x:float==2}.t() @ {y:right x}
    {x:float>=2} @ {w:weight (x[-1], 3)}
    {x:float>=1} @ {w:weight (x[-1],)}
    {x:integer>=2} @ {x}.transpose(-1, -2)
    torch.mv({x:float==2}.t(), {w:weight (x[0],)})
    torch.mv({x:float==2}, {x}[0])
    torch.bmm({x:float==3}, {x}.transpose(1, 2))
    torch.dot({x:number==1}, {y:same x})
    torch.outer({x:number==1}, {y:number==1})
    torch.addmm({x:float==2}[:, :1], {x}, {w:weight (x[1], 3)})
    F.linear({x:float>=1}, {w:weight (3, x[-1])})
    F.linear({x:float>=1}, {w:weight (3, x[-1])}, {b:weight (3,)})
    F.bilinear({x:float==2}, {x}, {w:weight (2, x[1], x[1])})
    torch.einsum("ij,ij->i", {x:float==2}, {y:same x})
    torch.einsum("...i,...j->...ij", {x:float>=1}, {y:same x})
    torch.einsum("ij,kj->ki", {x:float==2}, {x})
    torch.einsum("bij,bkj->bik", {x:float==3}, {y:same x})
    torch.tensordot({x:float==2}, {y:same x}, dims=([0], [0]))
    torch.kron({x:number==2}, {y:number==2})
    torch.cdist({x:float==2}, {y:same x})
""")

NETWORK = _family("network", """
    torch.softmax({x:float}, {d:dim x})
    torch.log_softmax({x:float}, {d:dim x})
    F.layer_norm({x:float>=1}, {x}.shape[-1:])
    F.layer_norm({x:float>=1}, {x}.shape[-1:], {w:weight (x[-1],)}, {b:weight (x[-1],)})
    F.rms_norm({x:float>=1}, {x}.shape[-1:])
    F.group_norm({x:float>=2}, {g:= 1 2})
    F.instance_norm({x:float==3})
    F.normalize({x:float>=1}, dim={d:dim x})
    F.conv1d({x:float==3}, {w:weight (2, x[1], 3)}, padding={p:= 1 0 2}, stride={s:= 1 2})
    F.conv1d({x:float==3}, {w:weight (x[1], 1, 2)}, groups={x}.shape[1])
    F.conv2d({x:float==4}, {w:weight (2, x[1], 3, 2)}, padding={p:= 1 0}, dilation={s:= 1 2})
    F.conv_transpose1d({x:float==3}, {w:weight (x[1], 2, 3)}, stride={s:= 1 2}, padding={p:= 0 1})
    F.conv_transpose2d({x:float==4}, {w:weight (x[1], 2, 2, 2)}, stride=2)
    F.{f:= max_pool1d avg_pool1d}({x:float==3}, {k:= 2 3 1}, stride={s:= 1 2}, ceil_mode={c:flag})
    F.{f:= max_pool2d avg_pool2d}({x:float==4}, 2, stride={s:= 1 2}, padding={p:= 0 1})
    F.adaptive_{f:= avg max}_pool1d({x:float==3}, {k:= 1 2 3})
    F.adaptive_avg_pool2d({x:float==4}, (1, {k:= 1 2}))
    F.interpolate({x:float==3}, scale_factor={s:= 2 0.5 1.5})
    F.interpolate({x:float==3}, size={n:size}, mode="{m:= nearest linear nearest-exact}")
    F.interpolate({x:float==4}, scale_factor=2, mode="{m:= nearest bilinear bicubic}")
    F.pad({x:any>=1}, ({a:= 0 1 2 -1}, {b:= 1 0 2 -1}))
    F.pad({x:float>=2}, ({a:= 0 1}, {b:= 1 0}), mode="{m:= reflect replicate circular}")
    F.pad({x:any>=1}, (0, {n:size} % 3), value={s:scalar x})
    F.embedding({i:integer}.long() % 4, torch.eye(4))
    F.one_hot({i:integer}.long() % 3, 3)
    F.scaled_dot_product_attention({x:float>=3}, {x}, {y:same x}, is_causal={c:flag})
    F.cross_entropy({x:float==2}, torch.arange({x}.shape[0]) % {x}.shape[1])
    F.{f:= mse_loss l1_loss smooth_l1_loss huber_loss}({x:float}, {y:like x}, reduction="{r:= mean sum none}")
    F.glu({x:float>=1}, {d:dim x})
    F.cosine_similarity({x:float>=1}, {y:same x}, dim={d:dim x})
    F.unfold({x:float==4}, 2)
    F.pixel_shuffle({x:float>=3}, 1)
""")

JOINING = _family("joining", """
    torch.cat([{x:any>=1}, {y:along x}], {d:dim x})
    torch.cat([{x:any>=1}, {y:shaped x any}], {d:dim x})
    torch.cat([{x:any>=1}, {x}[:{n:size}]])
    torch.stack([{x:any}, {y:same x}], {d:dim x})
    torch.stack([{x:any}, {y:shaped x any}])
    {x:any}.split({k:= 2 1 3}, {d:dim x})
    {x:any}.chunk({k:= 2 3}, {d:dim x})
    {x:any>=1}.split([1, {x}.shape[0] - 1])
    {x:any}.unbind({d:dim x})
    torch.tensor_split({x:any>=1}, {k:= 2 3})
    torch.{f:= hstack vstack}([{x:any}, {y:same x}])
    {x:any}.repeat({k:= 2 1 3}, *[1] * {x}.dim())
    {x:any}.repeat_interleave({k:= 2 3}, {d:dim x})
    torch.tile({x:any}, (2,))
    torch.roll({x:any}, {k:= 1 -1 2 5}, {d:dim x})
    torch.flip({x:any}, [{d:dim x}])
    torch.broadcast_tensors({x:any}, {y:like x})
    torch.meshgrid({x:any==1}, {y:same x}, indexing="{i:= ij xy}")
    torch.cartesian_prod({x:any==1}, {y:same x})
    torch.rot90({x:any>=2}, {k:= 1 2 3})
""")

INDEXING = _family("indexing", """
    {x:any>=1}[{a:bound}:{b:bound}]
    {x:any>=1}[{a:bound}:{b:bound}:{s:step}]
    {x:any>=2}[:, {a:bound}:{b:bound}]
    {x:any>=1}[..., {a:bound}:{b:bound}:{s:step}]
    {x:any>=1}[{i:axis x 0}]
    {x:any>=1}[..., {i:axis x -1}]
    {x:any>=1}[..., None, {a:bound}:]
    {x:any>=2}[{i:axis x 0}, {a:bound}:]
    {x:any>=1}[{n:size} // 2]
    {x:any>=1}[[0, -1]]
    {x:any>=1}[{i:integer}.long() % {x}.shape[0]]
    {x:any>=2}[:, {i:integer}.long() % {x}.shape[1]]
    {x:any>=2}[{i:integer==1}.long() % {x}.shape[0], {j:axis x 1}]
    {x:any>=1}[torch.arange({x}.shape[0] - 1, -1, -1)]
    {x:any>=2}[torch.arange({x}.shape[0]), {j:axis x 1}]
    {x:any}.index_select({d:dim x}, {i:integer==1}.long() % {x}.shape[{d}])
    {x:any}.gather({d:dim x}, {i:shaped x integer}.long() % {x}.shape[{d}])
    {x:any}.gather({d:dim x}, {y:number}.argsort(stable=True, dim={d}))
    torch.take_along_dim({x:any}, {x}.argsort(stable=True, dim={d:dim x}), {d})
    torch.take({x:any}, {i:integer}.long() % {x}.numel())
    {x:any}.scatter({d:dim x}, {i:shaped x integer}.long() % {x}.shape[{d}], {s:scalar x})
    {x:number}.scatter_add({d:dim x}, {i:shaped x integer}.long() % {x}.shape[{d}], {x}.clone())
    {x:any}.scatter({d:dim x}, {x}.argsort(stable=True, dim={d}), {y:same x})
    {x:number}.index_add({d:dim x}, torch.arange({x}.shape[{d}]), {y:same x})
    {x:any}.index_fill({d:dim x}, torch.arange({x}.shape[{d}]) // 2, {s:scalar x})
    {x:any}.index_copy({d:dim x}, torch.arange({x}.shape[{d}]), {y:same x})
    {x:any}.index_put(({i:integer==1}.long() % {x}.shape[0],), {y:into x})
    {x:number}.scatter_reduce({d:dim x}, {i:shaped x integer}.long() % {x}.shape[{d}], {x}, "{r:= amax amin sum}")
    {x:any>=1}.select_scatter({y:part x}, 0, {i:axis x 0})
    {x:any>=1}.masked_scatter({x} == {x}, {y:same x})
""")

VIEW = _family("view", """
    {x:any}.view(-1)
    {x:any}.reshape(-1)
    {x:any>=1}.reshape({x}.shape[0], -1)
    {x:any>=1}.view(*{x}.shape[:-1], 1, {x}.shape[-1])
    {x:any>=2}.reshape(-1, {x}.shape[-1])
    {x:any}.reshape({d:= 2 3}, -1)
    {x:any}.reshape_as({y:any})
    {x:any>=2}.transpose({d:dim x}, {e:dim x})
    {x:any}.permute({d:order x})
    {x:any}.mT
    {x:any}.t()
    {x:any}.unsqueeze({d:= 0 -1 1})
    {x:any}.squeeze({d:dim x})
    {x:any}.squeeze()
    {x:any}.expand({n:size}, *{x}.shape)
    {x:any}.expand_as({y:like x})
    {x:any>=1}.narrow({d:dim x}, {a:= 0 1}, {n:size})
    {x:any>=1}.narrow({d:dim x}, -1, 1)
    {x:any>=1}.narrow(0, 0, {x}.shape[0] // 2)
    {x:any>=2}.diagonal({o:= 0 1 -1})
    {x:any>=1}.unfold({d:dim x}, {k:= 2 1}, {s:= 1 2})
    {x:any}.flatten()
    {x:any>=2}.flatten(0, 1)
    {x:any>=1}.unflatten({d:dim x}, (1, -1))
    {x:any>=2}.swapaxes(0, 1).contiguous()
    {x:any>=1}.movedim(0, -1)
    {x:any>=1}.select({d:dim x}, {i:= 0 -1})
    {x:any}.broadcast_to(2, *{x}.shape)
    {x:any}.detach()
    {x:any}.clone()
    {x:any}.view_as({x})
    {x:any>=1}.as_strided((2,), (1,))
""")

WRITE = _family("write", """
    {x:number}.add_({s:scalar x})
    {x:number}.mul_({y:into x})
    {x:any}.copy_({y:into x})
    {x:any}.fill_({s:scalar x})
    {x:any}.zero_()
    {x:float}.{f:= relu_ exp_ neg_ sigmoid_ tanh_ abs_}()
    {x:number}.clamp_({s:scalar x}, {t:scalar x})
    {x:number}.masked_fill_({x} > {t:scalar x}, {s:scalar x})
    ! {x:any>=1}[{i:axis x 0}] = {s:scalar x}
    ! {x:any>=1}[{a:bound}:{b:bound}] = {s:scalar x}
    ! {x:any>=1}[{a:bound}:{b:bound}] = {y:into x}
    ! {x:any>=2}[:, {a:bound}:{b:bound}] = {s:scalar x}
    ! {x:any>=1}[..., {a:bound}:{b:bound}:{s:step}] = {t:scalar x}
    ! {x:any>=1}[..., {i:axis x -1}] = {y:into x}
    ! {x:number>=1}[{a:bound}:] += {s:scalar x}
    ! {x:number>=1}[{a:bound}:{b:bound}] *= {y:into x}
    ! {x:number}[{x} > {t:scalar x}] = {s:scalar x}
    ! {x:any>=1}[{i:integer==1}.long() % {x}.shape[0]] = {s:scalar x}
    ! {x:any>=2}[:, [0, -1]] = {s:scalar x}
    {x:number>=1}.narrow({d:dim x}, -1, 1).mul_({s:scalar x})
    {x:number>=1}.select({d:dim x}, {i:= 0 -1}).add_({s:scalar x})
    {x:any>=2}.t().copy_({y:typed x})
    {x:any>=2}.diagonal().fill_({s:scalar x})
    {x:any}.view(-1)[{a:bound}:].fill_({s:scalar x})
    {x:any}.flatten().fill_({s:scalar x})
    {x:number}.reshape(-1).add_({s:scalar x})
    {x:any>=1}.index_fill_(0, torch.arange({x}.shape[0]) // 2, {s:scalar x})
    {x:number}.scatter_add_({d:dim x}, {i:shaped x integer}.long() % {x}.shape[{d}], {x}.clone())
    {x:number}.index_add_({d:dim x}, torch.arange({x}.shape[{d}]), {y:same x})
    {x:any}.transpose({d:dim x}, {e:dim x}).fill_({s:scalar x})
    {x:number}.sub_({x})
    {x:number}.div_({s:= 2 4})
    {x:number}.cumsum_({d:dim x})
    {x:any>=1}.squeeze_({d:dim x})
    {x:number>=1}.unsqueeze(0).expand({k:= 1 2}, *{x}.shape)
    torch.relu_({x:float})
    F.relu({x:float}, inplace=True)
""")

CREATION = _family("creation", """
    torch.{f:= zeros ones}({n:size})
    torch.{f:= zeros ones}({n:size}, {m:size}, dtype={t:dtype})
    torch.full(({n:size}, 2), {s:= 2 0.5 True})
    torch.full({x:any}.shape, {n:size})
    torch.arange({n:size})
    torch.arange({n:size}, dtype={t:dtype})
    torch.arange({a:= 0 1 -2}, {n:size}, {s:step})
    torch.arange({n:size}, -1, -1)
    torch.linspace(0, 1, {n:size})
    torch.linspace(2, -1, {n:size})
    torch.eye({n:size})
    torch.{f:= tril triu}({x:any>=2}, {k:= 0 1 -1})
    torch.{f:= zeros_like ones_like}({x:any})
    torch.full_like({x:number}, {n:size})
    {x:any}.new_{f:= zeros ones}({n:size}, 2)
    torch.tensor({n:size})
    torch.tensor([{n:size}, {m:size}])
    torch.tensor({s:= 0.5 3 True})
    torch.tensor([{s:= 1 2}, -1])
    torch.scalar_tensor({n:size})
    torch.tril_indices({n:size}, {m:size})
    torch.empty({n:size}).fill_(1)
    torch.as_tensor({x:any}.shape)
""")

SIZE = _family("size", """
    {n:size} {o:= + - * //  %} {m:size}
    {n:size} // {k:= 2 3}
    {n:size} % {k:= 2 3}
    {o:= min max}({n:size}, {m:size})
    -{n:size} // 2
    {n:size} ** 0.5
    {n:size} / {k:= 2 3 4}
    {x:any}.numel()
    abs({n:size} - {k:= 3 5})
    {x:any}.size({d:dim x})
""")

BRANCH = _family("branch", """
    {x:any} if {n:size} {o:= > >= == != < <=} {k:= 1 2 3 4} else {y:any}
    {x:any} if {n:size} % 2 == {k:= 0 1} else {y:any}
    {x:any} if {n:size} {o:= > == <} {m:size} else {y:any}
    {x:any} if {y:any}.shape == {z:any}.shape else {y}
    {n:size} if {m:size} > {k:= 2 1 3} else 1
    {x:any} if {y:any}.numel() else {x}.clone()
    sum([{x:number} * i for i in range({k:= 3 2})])
""")

FAMILIES = (POINTWISE, COMPARE, REDUCTION, VIEW, INDEXING, WRITE, JOINING, SIZE, CREATION, PRODUCT, NETWORK, SORTING,
            BRANCH)  # fmt: skip
