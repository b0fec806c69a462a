"""Ops that move elements: joins, indices, views, and writes in place.

The kinds of arguments are those that `ops` explains.
"""

from tests.fuzz.program import family

JOINING = family("joining", """
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
    torch.cat([{x:any>=1}, {x}[:0]], 0)
    torch.cat([{x:any>=1}, {y:along x}, {x}], {d:dim x})
    torch.cat([{x:any>=1}[None], {x}.expand({n:size}, *{x}.shape)])
    torch.cat([{x:any}.reshape(-1), {y:any}.reshape(-1)])
    torch.stack({x:any>=1}.split(1), {d:dim x})
    {x:any>=1}.split({n:size})[0]
    {x:any>=1}.chunk(2, {d:dim x})[0] if {x}.shape[0] > 1 else {x}
    torch.column_stack([{x:any==1}, {y:same x}])
    {x:any}.repeat({n:size}, *[1] * {x}.dim())
    {x:any>=1}.repeat_interleave({n:size}, 0)
    torch.block_diag({x:any==2}, {y:any==2})
    torch.atleast_2d({x:any})
    torch.dstack([{x:any}, {y:same x}])
    torch.stack([{x:any}.sum(), {y:any}.sum()])
""")

INDEXING = family("indexing", """
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
    {x:any>=1}[:{n:size}]
    {x:any>=1}[-{n:size}:]
    {x:any>=1}[{n:size}:{m:size}]
    {x:any>=1}[{n:size} // 2:, ...]
    {x:any>=1}[:0]
    {x:any>=1}[{x}.shape[0] - 1]
    {x:any>=2}[..., {n:size} % 2]
    {x:any>=2}[:, None, :{n:size}]
    {x:any>=1}[torch.arange({x}.shape[0]).flip(0)]
    {x:any>=1}[torch.tensor([0, -1, 0])]
    {x:any>=1}[torch.tensor(-1)]
    {x:any>=1}[torch.arange({x}.shape[0]) % 2 == 0]
    {x:number}[{x} > {s:scalar x}]
    {x:number}[{x} > {s:scalar x}].sum()
    {x:any>=2}[torch.arange({x}.shape[0])[:, None], torch.arange({x}.shape[1])]
    {x:any>=2}[[0, -1], [0, -1]]
    {x:any>=2}[[0, -1], :, None]
    {x:any>=2}[..., [0, -1]]
    {x:any}[None, ..., None]
    {x:any>=1}.index_select(0, torch.tensor([0, 0]))
    {x:any>=1}[True]
    {x:any>=1}[{c:bool==1}.shape[0] - {c}.shape[0]]
    {x:any>=1}.slice_scatter({x}[:1] * 0, 0, 0, 1)
    {x:any>=2}.diagonal_scatter({x}.diagonal() * 0)
    torch.nonzero({x:any}).shape[0] + {y:number}
    torch.bincount({i:integer==1}.long().abs())
    {x:number>=1}.index_reduce(0, torch.arange({x}.shape[0]), {y:same x}, "{r:= amax amin prod}")
    {x:any>=2}[:, {n:size} // 2]
    {x:any>=1}[{n:size}:{n} + {m:size}:2]
    {x:any>=1}[-2:].flip(0)[:{n:size}]
    {x:any>=1}.narrow(0, min({n:size}, {x}.shape[0] - 1), 1)
    torch.select_scatter({x:any>=2}, {x}[:, 0].clone(), 1, {i:axis x 1})
    {x:any>=1}.flip(0)[1:]
    {x:any>=2}[::2, ::2]
    {x:any>=2}[1:, :-1].t() if {x}.dim() == 2 else {x}[1:, :-1]
    {x:any>=1}.unfold({d:dim x}, 2, 1)[..., 0]
    {x:any>=1}.expand(3, *{x}.shape).reshape(-1, *{x}.shape[1:])
    {x:any>=1}.expand(2, *{x}.shape).transpose(0, 1).reshape(-1)
    {x:any>=1}.movedim(-1, 0)[{i:axis x -1}]
    {x:any==4}.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    {x:any>=1}.new_empty({x}.shape).copy_({x})
    {x:any}.repeat(*[2] * {x}.dim())
    {x:any>=1}.index_select({d:dim x}, torch.tensor([0, 0]))
    {x:any>=2}.gather(1, torch.zeros({x}.shape[0], *[1] * ({x}.dim() - 1), dtype=torch.long))
    {x:any>=1}[{c:bool>=1}]
    {x:any>=2}[{i:integer>=1}.long() % {x}.shape[0], {i}.long() % {x}.shape[1]]
    {x:any>=2}[{i:integer==1}.long() % {x}.shape[0], :, None]
    {x:any>=2}[:, {c:bool==1}[:1].expand({x}.shape[1])]
    {x:any>=3}[{i:integer==1}.long() % {x}.shape[0], :, {i}.long() % {x}.shape[2]]
    {x:any>=1}[-1:0]
    {x:any>=1}[{a:bound}:{n:size}:{s:step}]
    {x:any>=1}[{n:size} - 3:{m:size} - 1]
    {x:any>=1}[{n:size} // 2:{n} // 2 + 2]
    {x:any>=2}[:, {n:size} % 3:]
    {x:any>=1}[:-{n:size} // 2]
    {x:any>=1}.narrow(0, {n:size} // 3, {m:size} // 2)
    torch.cat([{x:any>=1}[1:], {x}[:1]])
    torch.cat([{x:any>=1}, torch.zeros({n:size}, *{x}.shape[1:], dtype={x}.dtype)])
    torch.cat([torch.zeros(0), {x:float==1}])
    torch.stack([{x:any>=1}[i] for i in range({x}.shape[0])])
    sum({x:number>=1}[i] for i in range({x}.shape[0]))
    sum({x:number} * i for i in range({n:size}))
    torch.roll({x:any>=2}, (1, -1), (0, 1))
    torch.roll({x:any}, {n:size} // 2, 0)
    torch.combinations({x:any==1}, 2)
    torch.unravel_index({i:integer}.long().abs() % 6, (2, 3))
    torch.{f:= triu tril}({x:any>=2}, {n:size} - 2)
    torch.take_along_dim({x:any>=1}, torch.zeros([1] * {x}.dim(), dtype=torch.long), {d:dim x})
    torch.where({x:any})[0]
    {x:any}.view({x}.dtype)
    {x:any}.flatten().unfold(0, 2, 2)
    {x:any>=1}.split({n:size}, {d:dim x})
    torch.tensor_split({x:any>=1}, [1, {n:size}])
    torch.hsplit({x:any>=1}, 1)
    torch.dsplit({x:any>=3}, 1)
    torch.ravel({x:any}.t()) if {x}.dim() < 3 else {x}
    torch.swapdims({x:any>=2}, 0, -1).flatten()
""")

VIEW = family("view", """
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
    {x:any>=1}.view({x}.shape[0], -1)
    {x:any}.view({n:size}, -1)
    {x:any}.reshape(-1, {n:size})
    {x:any>=1}.unflatten(0, ({n:size}, -1))
    {x:any>=1}.unflatten(-1, (-1, 1)).transpose(0, -1)
    {x:any>=1}.transpose(0, -1).reshape(-1)
    {x:any>=2}.transpose(0, 1).flatten()
    {x:any}.reshape(*{x}.shape, 1)
    {x:any}.sum().expand({n:size})
    {x:any>=1}.expand(*{x}.shape)
    {x:any}.expand(2, *[-1] * {x}.dim())
    {x:any>=1}[:1].expand(*{x}.shape)
    {x:any>=2}.permute(*reversed(range({x}.dim())))
    {x:any>=1}.squeeze(tuple(range({x}.dim())))
    {x:any>=1}.narrow(0, {x}.shape[0] // 2, 1)
    {x:any}.contiguous().view(-1)
    {x:any}.ravel()[:{n:size}]
    {x:float}.view(torch.int{b:= 16 32 64})
    {x:any>=3}.flatten(1)
    {x:any>=2}.diagonal(dim1=0, dim2=1).sum()
    {x:any>=1}.tensor_split(2)[-1]
    {x:any}.movedim({d:dim x}, {e:dim x})
    {x:any}.reshape(1, -1).squeeze(0)
    {x:any>=1}.as_strided({x}.shape, {x}.stride())
    {x:any>=2}.view({x}.shape[1], {x}.shape[0], *{x}.shape[2:])
    {x:any>=2}.reshape({x}.shape[0] * {x}.shape[1], *{x}.shape[2:])
    {x:any>=1}.select(0, -1).as_strided((2,), (1,), {k:= 0 1})
    {x:any>=2}[:, :1].as_strided((2, 2), (1, 1))
    {x:number>=1}.unfold(0, {n:size}, 1).sum(-1)
""")

WRITE = family("write", """
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
    ! {x:number} += {y:into x}
    ! {x:number} -= {s:scalar x}
    ! {x:number} *= {n:size}
    ! {x:float} /= {n:size}
    ! {x:number>=1}[{i:axis x 0}] += {y:part x}
    ! {x:any>=1}[:{n:size}] = {s:scalar x}
    ! {x:any>=1}[{n:size}:] = {s:scalar x}
    ! {x:any>=1}[-{n:size}:] = {y:into x}
    ! {x:any>=1}[{x}.shape[0] - 1] = {s:scalar x}
    ! {x:any>=1}[::2] = {s:scalar x}
    ! {x:any>=2}[::2, 1:] = {s:scalar x}
    ! {x:any>=1}[1:] = {x}[:-1].clone()
    ! {x:any>=1}[...] = {y:into x}
    ! {x:any}[()] = {s:scalar x}
    ! {x:any>=2}[:, 0], {x}[:, -1] = {x}[:, -1].clone(), {x}[:, 0].clone()
    ! {x:any>=2}.T[{i:axis x 1}] = {s:scalar x}
    ! {x:any>=1}.chunk(2)[0][...] = {s:scalar x}
    ! {x:any>=1}.unbind(0)[-1].fill_({s:scalar x})
    ! {x:number>=1}.split(1)[0].mul_(2)
    ! {x:any>=2}.flatten(0, 1)[{a:bound}:] = {s:scalar x}
    ! {x:any>=2}.transpose(0, 1)[{a:bound}:{b:bound}] = {s:scalar x}
    ! {x:any>=2}.unsqueeze(1)[{a:bound}:, 0] = {s:scalar x}
    ! {x:number>=2}.t()[1:].add_({s:scalar x})
    ! {x:any>=1}[torch.tensor([0, -1])] = {s:scalar x}
    ! {x:any>=1}[torch.arange({x}.shape[0]) % 2 == 0] = {s:scalar x}
    ! {x:any>=2}[torch.arange({x}.shape[0]), 0] = {s:scalar x}
    {x:number>=1}.index_put_((torch.tensor([0, 0]),), {y:part x}, accumulate={k:flag})
    {x:any>=1}.index_copy_(0, torch.tensor([0]), {x}[-1:].clone())
    {x:any}.masked_scatter_({c:shaped x bool}, {y:same x}.clone())
    {x:any}.scatter_({d:dim x}, {i:shaped x integer}.long() % {x}.shape[{d}], {s:scalar x})
    {x:number}.copy_({x}.flip(0))
    {x:any>=1}.unsqueeze_({d:= 0 -1})
    {x:any}.t_()
    {x:any>=2}.transpose_({d:dim x}, {e:dim x})
    {x:any>=2}.swapaxes_(0, -1)
    {x:number>=1}.view(-1).add_({s:scalar x})
    {x:number}.clone().add_({y:into x})
    {x:number}.detach().mul_({s:scalar x})
    {x:number}.view_as({x}).add_({s:scalar x})
    {x:number>=1}[1:].clone().zero_()
    {x:number}.add_({x})
    {x:number>=1}.add_({x}[:1].clone())
    {x:any}.logical_not_()
    {x:number}.clamp_(min={s:scalar x}).mul_(2)
    {x:float}.lerp_({y:same x}, 0.5)
    {x:float}.addcmul_({y:same x}, {z:same x})
    {x:number}.{f:= floor_ square_ sign_ trunc_}()
    {x:float>=2}.triu_()
    {x:number}.put_(torch.tensor([0]), torch.ones(1).to({x}.dtype))
    torch.add({x:number}, {y:same x}, out={z:same x})
    torch.mul({x:number}, {s:scalar x}, out={y:same x})
    torch.cat([{x:any>=1}, {x}], out=torch.empty(0, dtype={x}.dtype))
    torch.cumsum({x:number}, {d:dim x}, out=torch.empty_like({x}))
    F.{f:= silu hardswish elu leaky_relu relu6 celu}({x:float}, inplace=True)
    F.hardtanh({x:float}, inplace=True)
    F.threshold({x:number}, 0, 1, inplace=True)
    F.dropout({x:float}, training=False, inplace=True).add_(1)
    ! {x:number}.data.add_({s:scalar x})
    ! {x:any>=2}[{a:bound}:, {b:bound}:] = {s:scalar x}
    ! {x:any>=1}[{n:size} // 2:{n}] = {s:scalar x}
    ! {x:any>=1}[-{n:size} // 2:] = {s:scalar x}
    ! {x:any>=1}[{i:integer==1}.long() % {x}.shape[0]] = {y:part x}
    ! {x:any>=2}.diagonal()[1:] = {s:scalar x}
    ! {x:any>=2}.mT[..., 0] = {s:scalar x}
    ! {x:any>=2}.flip(0)[0] = {s:scalar x}
    ! {x:any>=2}.reshape(-1, {x}.shape[-1])[0] = {s:scalar x}
    ! {x:any>=2}.t().contiguous()[0] = {s:scalar x}
    ! {x:any>=2}.permute(*reversed(range({x}.dim()))).reshape(-1)[:2] = {s:scalar x}
    ! {x:any>=1}.view(1, *{x}.shape)[0, -1] = {s:scalar x}
    ! {x:any>=1}.narrow(0, 0, {n:size} // 2).zero_()
    ! {x:any>=1}.tensor_split(2)[0][...] = {s:scalar x}
    ! {x:number}.{f:= float double long}().fill_({s:scalar x})
    ! {x:number>=1}[0].add_({x}[-1])
    ! {x:number}.masked_fill_({c:bool}, {s:scalar x})
    ! {x:number} = {x} {o:= + - *} {s:scalar x}
    ! {x:any} = {x}.clone()
    ! {x:any>=1} = {x}.flip(0)
    ! for i in range({n:size}): {x:number}.add_(i)
    ! for i in range({k:= 2 3}): {x:number>=1}[i % {x}.shape[0]] += {s:scalar x}
    ! for row in {x:number>=1}: row.mul_(2)
    ! for a, b in zip({x:number>=1}, {y:same x}): a.copy_(b)
    ! {x:number>=1}[1:].add_({x}[:1])
    ! {x:any>=1}[1:].copy_({x}[:-1].clone())
    ! {x:number>=1}[:-1] += {x}[1:]
    ! {x:any>=1}[::2] = {x}[1::2].clone() if {x}.shape[0] % 2 == 0 else {s:scalar x}
    ! {x:number>=2}[0], {x}[-1] = {x}[-1], {x}[0].clone()
    ! {x:any>=1}.T.copy_({x}.T.flip(0)) if {x}.dim() == 2 else {x}.zero_()
    ! {x:number>=2}.mT.mul_({x}.mT)
    ! {x:any>=2}[..., 1:, :1] = {s:scalar x}
    ! {x:any>=2}[{a:bound}:{b:bound}, {i:axis x 1}] = {s:scalar x}
    ! {x:any>=2}[{i:axis x 0}][{a:bound}:] = {s:scalar x}
    ! {x:any>=1}[{a:bound}:][{b:bound}:] = {s:scalar x}
    ! {x:any>=1}[{a:bound}:][::2].fill_({s:scalar x})
    ! {x:any>=1}[{n:size}:{m:size}] = {s:scalar x}
    ! {x:any>=1}[{n:size} - 2:{n} - 1] = {s:scalar x}
    ! {x:any>=1}[{n:size} // 2:{n} // 2 + 2] = {s:scalar x}
    ! {x:any>=2}[:, {n:size} // 2] = {s:scalar x}
    ! {x:any>=2}[:{n:size}, :{m:size}] = {s:scalar x}
    ! {x:any}.view(-1)[::2] = {s:scalar x}
    ! {x:any}.view(-1)[{n:size}:] = {s:scalar x}
    ! {x:any>=2}.view(-1, {x}.shape[-1])[0] = {s:scalar x}
    ! {x:any>=2}.flatten(0, 1)[-1].fill_({s:scalar x})
    ! {x:any>=2}.reshape({x}.shape[0], -1)[:, 0] = {s:scalar x}
    ! {x:number>=1}.as_strided(({x}.shape[0],), ({x}.stride(0),)).add_(1)
    ! {x:any}.expand(1, *{x}.shape)[0].fill_({s:scalar x})
    ! {x:any>=2}.diagonal().copy_({x}[0, :1])
    ! {x:number>=2}.diagonal({k:= 0 1 -1}).add_({s:scalar x})
    ! {x:any>=1}.unfold(0, 1, 1)[0].fill_({s:scalar x})
    ! {x:any>=1}.unfold(0, 2, 2)[..., 0] = {s:scalar x}
    ! {x:any>=2}.movedim(0, -1)[..., 0] = {s:scalar x}
    ! {x:any>=2}.unbind(1)[0].fill_({s:scalar x})
    ! {x:any>=2}.split(1, 1)[-1].fill_({s:scalar x})
    ! {x:any>=1}.chunk(2)[-1].zero_()
    ! {x:any>=2}.transpose(0, 1).reshape(-1)[0] = {s:scalar x}
    ! {x:any}.contiguous().fill_({s:scalar x})
    ! {x:any>=2}.t().contiguous().fill_({s:scalar x})
    ! {x:any}.to({t:dtype}).fill_({s:scalar x})
    ! {x:float}.real.mul_(2)
    ! {x:any}.unsqueeze(0).squeeze(0).fill_({s:scalar x})
    ! {x:number}.detach().add_({x})
    ! {x:any>=1}[{c:bool>=1}] = {s:scalar x}
    ! {x:any>=1}[{x} == {x}] = {s:scalar x}
    ! {x:number>=1}[{i:integer==1}.long() % {x}.shape[0]] += {s:scalar x}
    ! {x:any>=2}[{i:integer==1}.long() % {x}.shape[0], {i}.long() % {x}.shape[1]] = {s:scalar x}
    ! {x:any>=2}[{i:integer==1}.long() % {x}.shape[0], 1:] = {s:scalar x}
    ! {x:any>=1}.index_copy_({d:dim x}, torch.arange({x}.shape[{d}]).flip(0), {x}.clone())
    ! {x:any>=1}.masked_scatter_({c:bool}, {y:same x}.clone())
    ! {x:any}.resize_(*{x}.shape)
    ! {x:any}.set_({y:typed x})
    ! {x:any}.data = {y:same x}
    ! {x:number}.bitwise_xor_({k:= 1 2}) if not {x}.is_floating_point() else {x}.neg_()
    ! {x:float}.clamp_({y:into x}).sqrt_()
    ! {x:float}.{f:= floor_ ceil_ round_ exp_ log1p_ sin_ erf_ reciprocal_}()
    ! {x:number}.pow_({k:= 2 3})
    ! {x:number}.remainder_({k:= 2 3})
    ! {x:number}.floor_divide_({k:= 2 3})
    ! {x:float}.nan_to_num_()
    ! {x:any>=2}.triu_({k:= 0 1 -1})
    ! {x:float>=1}[0] = {y:integer}.sum()
    ! {x:integer>=1}[0] = {y:float}.sum() / 7
    ! {x:any>=1}[0] = {n:size}
    ! {x:any>=1}[:1] = torch.tensor({s:scalar x})
    ! {x:number}.index_add_(0, torch.zeros({x}.shape[0], dtype=torch.long), {x}.clone(), alpha={k:= 1 2})
    ! torch.sum({x:number>=1}, 0, out={x}[0].clone())
    ! torch.add({x:number}, 1, out={x})
    ! torch.relu_({x:float>=1}[{a:bound}:])
    ! F.relu({x:float>=2}.transpose(0, 1), inplace=True)
    ! F.hardswish({x:float>=1}[::2], inplace=True)
    ! {x:any>=1}.swapaxes(0, -1).zero_() if {n:size} > 2 else {x}.fill_({s:scalar x})
    ! {x:number}.add_(1) if {n:size} > {m:size} else {x}.mul_(2)
    ! {x:number}.add_(1) if {y:number}.sum() > 0 else {x}.sub_(1)
    {x:number}.clone(memory_format=torch.contiguous_format).add_(1)
    {x:number>=2}.t().clone().view(-1)[:3].add_(1) if {x}.dim() == 2 and {x}.numel() > 3 else {x}
    torch.empty_like({x:number}).copy_({x}).reshape(-1).add_(1)
    ({x:number} * 2).reshape(-1).mul_(3)
    ({x:number>=2} * 2).transpose(0, -1).reshape(-1).mul_(3)
""")
