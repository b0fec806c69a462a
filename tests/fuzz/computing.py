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
""")
