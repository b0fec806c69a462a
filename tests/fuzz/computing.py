"""Ops that compute with elements, and those that networks are built of.

The kinds of arguments are those that `ops` explains.
"""

from tests.fuzz.program import family

POINTWISE = family("pointwise", """
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
    {x:number}.sum() {o:= + - *} {y:any}
    {x:any}.to({t:dtype}) {o:= + *} {y:broadcast x}
    torch.add({x:number}, {y:broadcast x}, alpha={a:= 2 -1})
    torch.sub({x:number}, {y:like x}, alpha={n:size})
    torch.true_divide({x:any}, {y:broadcast x})
    torch.floor_divide({x:number}, {y:broadcast x})
    {s:= 2 0.5 True} ** {x:number}
    {x:float} ** {y:like x}
    {x:number}.clip({s:scalar x}, {n:size})
    torch.where({x:any}.bool(), {n:size}, {y:number})
    torch.tensor({s:= 2 0.5 True}) * {x:any}
    torch.tensor([{s:= 2 0.5 True}]) + {x:any}
    torch.sum(torch.stack([{x:float}, {y:same x}]), 0)
    torch.frac({x:float})
    torch.deg2rad({x:number})
    torch.gcd({x:integer}.abs() + 1, {y:like x}.abs() + 1)
    torch.addcdiv({x:float}, {y:like x}, {z:like x}.abs() + 1, value=0.5)
    torch.sinc({x:float})
    torch.xlogy({x:float}, {y:like x}.abs())
    torch.float_power({x:number}.abs(), {s:= 2 0.5})
    torch.special.{f:= expit logit entr i0 log1p}({x:float})
    {x:float}.{f:= acos asin atan sinh cosh asinh atanh acosh exp2 log2 log10 erfc}()
    torch.ldexp({x:float}, {y:integer})
    torch.remainder({s:= 3 -2}, {x:number})
    {s:= 1 2.5} / {x:number}
    {n:size} - {x:number}
    {n:size} / {x:float}
    {n:size} % {x:float}
    {x:number} % {n:size}
    {x:number} // {n:size}
    {x:number} ** {n:size}
    {x:number}.clamp({n:size}, {m:size})
    {x:integer} / {y:broadcast x}
    {x:bool} * {y:broadcast x}
    {x:bool} + {y:bool}
    {x:number}.to(torch.int8) + {y:number}
    {x:number}.to(torch.int16) * {s:scalar x}
    ({x:float}.to(torch.bfloat16) * 2).float()
    torch.bitwise_left_shift({x:integer}, {y:like x}.abs() % 4)
    torch.lcm({x:integer}, {y:like x})
    torch.{f:= cos tan erfinv lgamma digamma sgn}({x:float})
    torch.{f:= exp tanh sigmoid sqrt}({x:float}.bfloat16()).float()
    ({x:float}.bfloat16() {o:= + - * /} {y:like x}.bfloat16()).float()
    ({x:float}.bfloat16().sum({d:dim x}) / {n:size}).float()
    {x:number}.clamp({y:into x}, {z:into x})
    torch.nan_to_num({x:float} / {y:like x}, 1.0, 2.0, -3.0)
    {x:float}.masked_fill({x} > {s:scalar x}, float("{v:= -inf inf}")).softmax({d:dim x})
    {x:float}.masked_fill({x} > {s:scalar x}, float("{v:= -inf inf nan}")).{f:= amax amin sum mean}({d:dim x})
    torch.complex({x:float}, {y:same x}).abs()
    torch.view_as_real(torch.complex({x:float}, {y:same x}) * (1 + 2j))
    torch.view_as_complex(torch.stack([{x:float}, {y:same x}], -1)).real
    torch.polar({x:float}.abs(), {y:same x}).imag
    torch.fft.{f:= fft ifft}({x:float>=1}, dim={d:dim x}).real
    torch.fft.rfft({x:float>=1}).abs()
    torch.fft.irfft(torch.fft.rfft({x:float>=1}, dim={d:dim x}), n={x}.shape[{d}], dim={d})
    {x:number} // {y:broadcast x}
    {x:number}.remainder({y:like x})
    {x:number}.fmod({y:like x})
    {x:number}.pow({y:broadcast x}.abs())
    {x:integer} ** {y:like x}.abs()
    {x:number}.to(torch.int8) // 2
    {x:number}.to(torch.int16) {o:= + * - //} {y:broadcast x}
    {x:integer}.to(torch.uint8) {o:= + - * >>} 3
    -{x:number}.to(torch.uint8)
    {x:number}.to(torch.{a:= int8 int16 uint8}).to(torch.{b:= float32 int64 float16})
    {x:any}.{f:= char short byte}()
    {x:float} > {y:integer}
    {x:integer} {o:= < == >=} {s:= 0.5 1.5 -0.5}
    torch.where({x:number} > 0, {y:broadcast x}, {s:= 0.5 2})
    torch.where({c:bool}, {x:number}, torch.tensor({s:= 1 0.5}))
    {x:any} * True + False
    (({x:number} + 1) * {n:size} - {m:size}) / 2
    torch.maximum({x:number}, torch.tensor({n:size}))
    torch.{f:= special.xlog1py xlogy}({x:float}, {s:= 2 0.5})
    torch.logit({x:float}.sigmoid(), eps={e:= 0.1 1e-3})
    torch.sigmoid({x:integer})
    torch.{f:= exp sqrt sin log tanh}({x:integer})
    {x:integer}.mean({d:dim x}, dtype=torch.float32) + {y:float}
    torch.addcmul({x:float}, {y:like x}, {z:like x}, value={n:size})
    torch.lerp({x:float}, {y:like x}, {w:like x})
    {x:float}.mul({y:broadcast x}).add({z:broadcast x})
    torch.bitwise_not({x:integer}) ^ {n:size}
    {x:number}.abs().{f:= sqrt rsqrt log1p}()
""")

COMPARE = family("compare", """
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
    torch.{f:= signbit isneginf isposinf isreal}({x:float})
    torch.isclose({x:float}, {y:same x})
    torch.isin({x:integer}, {y:typed x})
    {x:any} == {n:size}
    {x:number} > {n:size}
    torch.where({x:number} > {n:size}, {x}, {m:size})
    {x:number}.masked_fill({x} == {n:size}, {m:size})
""")

REDUCTION = family("reduction", """
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
    {x:number}.sum({d:dims x}, dtype={t:dtype})
    {x:float}.mean({d:dim x}, dtype=torch.float64)
    {x:number}.prod(dtype={t:dtype})
    {x:float}.softmax({d:dim x}).argmax({d})
    {x:number}.max({d:dim x})
    {x:number}.min({d:dim x}, keepdim={k:flag})
    {x:float}.nanmean({d:dim x})
    {x:any}.float().nansum({d:dims x})
    torch.dist({x:float}, {y:same x}, 2)
    {x:any}.all() & {y:any}.any()
    {x:number}.unfold(0, 1, 1).sum(-1)
    {x:float}.var({d:dims x}, correction={n:size}, keepdim={k:flag})
    torch.cumulative_trapezoid({x:float>=1}, dim={d:dim x})
    torch.trapezoid({x:float>=1}, dim={d:dim x})
    {x:bool}.cumsum({d:dim x})
    {x:bool}.sum({d:dim x}).softmax(0, dtype=torch.float32)
    {x:any}.mean({d:dim x}, dtype=torch.float32)
    {x:float}.log_softmax({d:dim x}).exp().sum({d})
    {x:float}.sum(()) + {x}.mean(())
    {x:number}.amax(()) + {x}.amin(())
    torch.nanmedian({x:float})
    {x:number}.diff(n={k:= 0 1 2}, dim={d:dim x})
    torch.cov({x:float==2})
    torch.quantile({x:float}, {q:= 0.5 0.25 0.0}, dim={d:dim x}, keepdim={k:flag})
    torch.mode({x:number}, {d:dim x})[0]
    torch.unique({x:number}).sum()
    torch.unique({x:integer}, return_counts=True)
    torch.unique_consecutive({x:integer==1})
    torch.histc({x:float}, 4, -2, 2)
    torch.renorm({x:float>=2}, 2, 0, 1.5)
    torch.msort({x:number})
    {x:number}.topk(1, {d:dim x}, largest={l:flag})[0]
    {x:float}.std()
    {x:float}.var({d:dims x}, unbiased={u:flag})
    {x:number}.sum({d:dim x}, keepdim=True) {o:= + -} {x}
    {x:float} / {x}.sum({d:dim x}, keepdim=True)
    {x:number}.max({d:dim x})[1]
    {x:number}.flip({d:dim x}).cumsum({d}).flip({d})
    {x:number}.cummax({d:dim x})[1]
    torch.logsumexp({x:float}, ())
    {x:number}.amax(({x}.dim() - 1,)) if {x}.dim() else {x}
    {x:any}.all({d:dims x})
    {x:any}.any({d:dims x}, keepdim={k:flag})
    torch.argwhere({x:any})
    torch.nonzero({x:any}, as_tuple=True)
    {x:any}.nonzero().sum(0)
    {x:number}.prod()
    {x:float}.norm({p:= 1 2 0 float("inf") 3})
    torch.linalg.matrix_norm({x:float>=2})
    torch.std({x:float}, dim={d:dim x}, correction=2)
    {x:number}.sum({d:dim x}).item() if {x}.dim() == 1 else 1.5
    {x:number}.max().item() if {x}.numel() else 0
""")

SORTING = family("sorting", """
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
    {x:number==1}[{y:number==1}.argsort(stable=True) % {x}.shape[0]]
    torch.searchsorted({x:float==1}.sort()[0], {s:= 0.5 1}, right={r:flag})
    torch.bucketize({x:float}, {y:float==1}.sort()[0], right={r:flag})
    torch.isin({x:number}, torch.tensor([0, 1]))
""")

PRODUCT = family("product", """
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
    torch.einsum("i,j->ij", {x:float==1}, {y:float==1})
    torch.einsum("ij,jk->ik", {x:float==2}, {x}.t())
    torch.linalg.norm({x:float==2}, ord={o:= 1 -1 "'fro'"})
    torch.addmv({x:float==2}[:, 0], {x}, {v:weight (x[1],)})
    torch.vdot({x:float==1}, {y:same x})
    torch.baddbmm({x:float==3}[:, :, :1], {x}, {w:weight (x[0], x[2], 2)}, beta={b:= 1 0 0.5}, alpha={a:= 1 2})
    torch.addr({x:float==2}, {x}[:, 0], {x}[0], beta={b:= 1 0.5 0})
    torch.addmm({x:float==2}[:, :1], {x}, {x}.t(), beta={b:= 1 0 2}, alpha={a:= 1 -1})
    torch.einsum("bi,bj->bij", {x:float==2}, {y:float==2})
    torch.einsum("ii->i", {x:float==2})
    torch.einsum("ijk,kl->ijl", {x:float==3}, {w:weight (x[2], 2)})
    torch.einsum("ij->ji", {x:float==2})
    torch.einsum("ij->", {x:float==2})
    torch.einsum("i,i", {x:float==1}, {y:same x})
    torch.einsum("b...d,...d->b...", {x:float>=2}, {x}[0])
    torch.cross({x:number>=1}, {y:same x}, dim={d:dim x})
    torch.matmul({x:float>=1}, {y:float>=1})
    torch.matmul({x:float>=2}.mT, {x})
    torch.inner({x:float>=1}, {y:typed x})
    torch.matrix_power({x:float>=2}, {k:= 0 1 2 3})
    torch.linalg.{f:= det inv slogdet}({x:float>=2} @ {x}.mT + 9 * torch.eye({x}.shape[-2]).to({x}.dtype))
    torch.linalg.solve({x:float>=2} @ {x}.mT + 9 * torch.eye({x}.shape[-2]).to({x}.dtype), {x})
    torch.linalg.cholesky({x:float>=2} @ {x}.mT + 9 * torch.eye({x}.shape[-2]).to({x}.dtype))
    torch.tensordot({x:float>=1}, {y:typed x}, dims=1)
    torch.cdist({x:float>=2}, {y:typed x}, p={p:= 1.0 2.0 float("inf")})
    {x:integer==2} @ {y:like x}.t()
    {x:float>=2}.expand(2, *{x}.shape) @ {w:weight (x[-1], 2)}
    {x:float==2}[::2] @ {w:weight (x[1], 3)}
    F.linear({x:float>=1}.transpose(0, -1), {w:weight (3, x[0])})
    F.linear({x:float>=1}.half(), {w:weight (3, x[-1])}.half())
    ({x:float>=2}.bfloat16() @ {w:weight (x[-1], 3)}.bfloat16()).float()
""")

NETWORK = family("network", """
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
    F.layer_norm({x:float>=2}, {x}.shape[-2:])
    F.rms_norm({x:float>=2}, {x}.shape[-2:], eps=1e-3)
    F.batch_norm({x:float>=2}, torch.zeros({x}.shape[1]).to({x}.dtype), torch.ones({x}.shape[1]).to({x}.dtype))
    F.local_response_norm({x:float>=3}, 2)
    F.pixel_unshuffle({x:float>=3}.repeat_interleave(2, -1).repeat_interleave(2, -2), 2)
    F.affine_grid(torch.ones(1, 2, 3) * 0.5, (1, 1, {n:size}, {m:size}), align_corners={c:flag})
    F.scaled_dot_product_attention({x:float>=3}, {x}, {x}, attn_mask={x} @ {x}.mT > 0)
    F.scaled_dot_product_attention({x:float>=3}, {x}[..., :1, :], {x}[..., -1:, :], scale={s:= 0.5 2.0})
    F.embedding_bag({i:integer==2}.long() % 4, torch.eye(4), mode="{m:= sum mean max}")
    F.nll_loss({x:float==2}, torch.arange({x}.shape[0]) % {x}.shape[1], reduction="{r:= mean sum none}")
    F.binary_cross_entropy_with_logits({x:float}, {y:same x}.sigmoid())
    F.kl_div({x:float}, {y:same x}.sigmoid(), reduction="{r:= sum none}")
    F.pdist({x:float==2})
    F.fold(F.unfold({x:float==4}, 2), {x}.shape[2:], 2)
    F.adaptive_max_pool2d({x:float==4}, {k:= 1 2})
    F.adaptive_avg_pool2d({x:float==4}, ({k:= 1 2}, None))
    F.interpolate({x:float==4}, size=({n:size}, {m:size}), mode="{f:= nearest bilinear bicubic area}")
    F.interpolate({x:float==3}, size={n:size}, mode="linear", align_corners=True)
    F.max_pool1d({x:float==3}, 2, return_indices=True)
    F.lp_pool1d({x:float==3}, 2, 2)
    F.pad({x:any>=1}, ({n:size}, {m:size}))
    F.pad({x:float==4}, (1, 0, 0, {k:= 1 2}), mode="{m:= reflect replicate circular}")
    F.channel_shuffle({x:float>=3}, 1)
    F.threshold({x:number}, {s:= 0 1}, {t:= 2 -1})
    F.prelu({x:float>=2}, torch.full(({x}.shape[1],), 0.25).to({x}.dtype))
    F.softmin({x:float}, {d:dim x})
    F.dropout({x:float}, 0.5, training=False)
    F.conv2d({x:float==4}, {w:weight (x[1], 1, 1, 1)}, groups={x}.shape[1], stride={s:= 1 2})
    F.conv1d({x:float==3}, {w:weight (2, x[1], 2)}, padding="same")
    {x:any}.softmax({d:dim x}, dtype=torch.float32)
    F.normalize({x:float>=1}, p={p:= 1 3 float("inf")}, dim={d:dim x})
    F.gelu({x:float}, approximate="tanh")
    F.celu({x:float}, 0.5) + F.selu({x}) + F.logsigmoid({x}) + F.softshrink({x}) + F.hardshrink({x})
    F.max_pool1d({x:float==3}, {k:= 2 3}, padding=1, dilation={d:= 1 2})
    F.avg_pool1d({x:float==3}, 2, padding=1, count_include_pad={k:flag})
    F.avg_pool2d({x:float==4}, 2, divisor_override=3)
    F.adaptive_avg_pool1d({x:float==3}, {n:size})
    F.conv2d({x:float==4}, {w:weight (2, x[1], 2, 2)}, {b:weight (2,)}, padding="{p:= same valid}")
    F.conv_transpose1d({x:float==3}, {w:weight (x[1], 2, 3)}, stride=2, output_padding=1, dilation={s:= 1 2})
    F.cross_entropy({x:float==2}, {x}.softmax(1), label_smoothing={s:= 0.0 0.1})
    F.embedding({i:integer}.long() % {n:size}, torch.ones({n}, 2))
    F.conv3d({x:float==4}[None], {w:weight (2, x[0], 1, 2, 1)}, padding={p:= 0 1})
    F.max_pool3d({x:float==4}, {k:= 1 2}, ceil_mode={c:flag})
    F.{f:= max_pool2d avg_pool2d}({x:float==4}, {k:= 3 2}, stride={s:= 2 1 3}, padding={p:= 1 0}, ceil_mode={c:flag})
    F.avg_pool2d({x:float==4}, {k:= 3 2}, stride=2, padding=1, ceil_mode={c:flag}, count_include_pad={i:flag})
    F.max_pool2d({x:float==4}, {k:= 3 2}, stride={s:= 2 3}, dilation={d:= 1 2}, ceil_mode={c:flag})
    F.max_unpool1d(*F.max_pool1d({x:float==3}, 2, return_indices=True), 2)
    F.pad({x:float==3}, ({a:= 0 1 2 -1}, {b:= 1 2 -1 0}), mode="{m:= reflect replicate circular}")
    F.pad({x:any>=2}, ({a:= 0 1 -1}, {b:= 0 1}, {c:= 1 -1 2}, {d:= 0 -1}), value={s:scalar x})
    F.interpolate({x:float==3}, scale_factor={s:= 2 0.5 1.5 0.7 3}, mode="{m:= nearest linear nearest-exact area}")
    F.interpolate({x:float==4}, size={y:any}.shape[-2:], mode="{m:= nearest bilinear}")
    F.adaptive_{f:= avg max}_pool2d({x:float>=3}, ({k:= 1 2 3}, {j:= 1 2}))
    F.adaptive_{f:= avg max}_pool1d({x:float>=2}, {n:size})
    F.conv1d({x:float>=2}, {w:weight (4, x[-2], 1)})
    F.conv2d({x:float>=3}, {w:weight (2, x[-3], 2, 1)}, stride=({s:= 1 2}, 1), padding=({p:= 0 1 2}, 0))
    F.{f:= softsign tanhshrink logsigmoid softplus selu}({x:float})
    F.rrelu({x:float}, training=False)
    F.poisson_nll_loss({x:float}, {y:same x}.abs(), reduction="{r:= mean none sum}")
    F.triplet_margin_loss({x:float>=1}, {y:same x}, {z:same x}, reduction="{r:= mean none}")
    F.cosine_embedding_loss({x:float==2}, {y:same x}, torch.ones({x}.shape[0]))
    F.margin_ranking_loss({x:float}, {y:same x}, {z:same x}.sign())
    F.soft_margin_loss({x:float}, {y:same x}.sign())
    F.gaussian_nll_loss({x:float>=1}, {y:same x}, {z:same x}.abs())
    F.binary_cross_entropy({x:float}.sigmoid(), {y:same x}.sigmoid(), reduction="{r:= mean sum none}")
    F.multi_margin_loss({x:float==2}, torch.arange({x}.shape[0]) % {x}.shape[1])
    torch.nn.utils.rnn.pad_sequence([{x:any>=1}, {x}[:1], {x}[:{n:size}]], batch_first={b:flag})
    F.scaled_dot_product_attention({x:float>=2}, {y:typed x}, {y})
    F.scaled_dot_product_attention({x:float>=2}, {x}, {x}, is_causal=True).nan_to_num()
    F.group_norm({x:float>=2}, {x}.shape[1], {w:weight (x[1],)}, {b:weight (x[1],)})
    F.batch_norm({x:float>=2}, None, None, training=True)
    F.batch_norm({x:float>=2}, {m:weight (x[1],)}, {w:weight (x[1],)}.abs(), {g:weight (x[1],)}, eps={e:= 1e-5 0.1})
    F.instance_norm({x:float>=3}, weight={w:weight (x[1],)})
    F.layer_norm({x:float>=1}, ({x}.shape[-1],), eps={e:= 1e-5 1.0})
    F.rms_norm({x:float>=1}, {x}.shape[-1:], {w:weight (x[-1],)})
    F.gumbel_softmax({x:float}, hard=True).sum({d:dim x}) * 0
    F.one_hot({i:integer}.long().abs())
    F.nll_loss({x:float==2}.log_softmax(1), torch.zeros({x}.shape[0], dtype=torch.long), ignore_index={k:= 0 -100})
    F.unfold({x:float==4}, (2, 1), dilation={d:= 1 2}, padding={p:= 0 1}, stride={s:= 1 2})
    F.max_pool2d({x:float>=3}, 2, return_indices=True)[1]
    F.lp_pool2d({x:float==4}, {p:= 1 2}, 2, ceil_mode={c:flag})
""")
