"""Ops on sizes, tensors that are made of them, and branches on them and on data.

The kinds of arguments are those that `ops` explains.
"""

from tests.fuzz.program import family

CREATION = family("creation", """
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
    torch.zeros(0).to({t:dtype})
    torch.empty(0, {n:size})
    torch.zeros({n:size}, 0, {m:size})
    torch.zeros(()).to({t:dtype})
    torch.zeros({n:size} + {m:size})
    torch.ones({n:size}, {m:size}) * {k:size}
    torch.full(({n:size},), {m:size}, dtype={t:dtype})
    torch.arange({n:size})[:, None] + torch.arange({m:size})
    torch.arange({n:size}, {n} + {m:size})
    torch.arange({n:size} * {m:size}).reshape({n}, {m})
    torch.arange(0, {n:size}, 0.5)
    torch.arange({n:size}) {o:= < <= ==} {m:size}
    torch.eye({n:size}, {m:size}, dtype={t:dtype})
    torch.linspace({n:size}, 0, 4)
    torch.logspace(0, 1, {n:size})
    torch.tensor([1, -1]).add_(2)
    torch.tensor({s:= 0.5 3}).mul_({n:size})
    torch.as_tensor({x:any}.shape).add_(2)
    torch.tensor([[{n:size}, 0.5], [1, {m:size}]])
    torch.tensor({x:any}.numel()) / 2
    torch.empty({n:size}, {m:size}).fill_({s:= 1 0.5})
    torch.empty_like({x:any}).zero_()
    {x:any}.new_full(({n:size},), {s:= 1 0})
    {x:any}.new_tensor([{n:size}, 1])
    {x:any}.new_empty({n:size}).fill_(1)
    torch.zeros_like({x:any}, dtype={t:dtype})
    torch.full_like({x:any}, {s:= 1 0}, dtype={t:dtype})
    torch.tril(torch.ones({n:size}, {m:size}))
    torch.hann_window({n:size})
    torch.diag({x:number==1})
    torch.diag_embed({x:any>=1}, {o:= 0 1})
    torch.vander({x:number==1}, 3)
    torch.triu_indices({n:size}, {n})
    torch.linspace(0, {n:size}, {m:size})
    torch.full(({n:size}, {m:size}), float("-inf")).triu(1)
    torch.arange({n:size}).view(-1, 1) >= torch.arange({m:size})
    torch.zeros({n:size}).scatter(0, torch.arange({n}), 1)
    torch.tensor([float({n:size}), {m:size} / 3]).mean() * {x:float}
    torch.zeros({n:size} // 2, {m:size} // 2)
    torch.ones(max({n:size} - 3, 0), 2)
    torch.arange({n:size} - 1, -1, -1)
    torch.arange({n:size}, 0, -2)
    torch.arange({m:size}, {n:size})
    torch.arange(0, {n:size}, {m:size})
    torch.arange(1, {n:size} / 2, 0.25)
    torch.arange({n:size}).float() / max({n} - 1, 1)
    torch.linspace({s:= -1 0}, {n:size}, {n} // 2 + 1)
    torch.linspace(0, 1, {n:size} - 1)
    torch.full(({n:size} - {m:size},), 1.0)
    torch.full_like({x:float}, {n:size} / 3)
    torch.eye({n:size})[:{m:size}]
    torch.ones({n:size}, {n}).tril() @ torch.ones({n}, 1)
    torch.ones({n:size}, {m:size}).{f:= cumsum cumprod}({d:= 0 1})
    torch.tensor([[1, 2], [3, {n:size}]]).sum(0)
    torch.tensor([{n:size}, {m:size}]).prod()
    torch.tensor([i * 2 for i in range({k:= 3 1 0})])
    torch.tensor({n:size} > {m:size})
    torch.tensor({n:size} / 2)
    torch.tensor({n:size}, dtype={t:dtype})
    torch.as_tensor([{n:size} * 0.5, {m:size}])
    torch.zeros({x:any}.shape[::-1])
    torch.zeros({x:any}.shape).to({y:any})
    torch.empty({n:size}, {m:size}, dtype={t:dtype}).zero_()
    torch.rand({n:size}).mul(0)
    torch.randint(0, 1, ({n:size},))
    torch.rand_like({x:float}).ge(0)
    torch.ones({n:size}).nonzero().squeeze()
    torch.tril_indices({n:size}, {m:size}, {o:= 0 -1 1})
    torch.zeros({n:size}, {n}).fill_diagonal_({k:= 1 2})
    torch.zeros({n:size}).scatter_(0, torch.arange({n}), torch.arange({n}).float())
    torch.zeros({n:size}, {m:size}).index_fill_(0, torch.arange({n}) // 2, 3)
    torch.cat([torch.zeros({n:size}), torch.ones({m:size})])
    torch.stack(torch.meshgrid(torch.arange({n:size}), torch.arange({m:size}), indexing="{i:= ij xy}"), -1)
    torch.{f:= hamming_window blackman_window bartlett_window kaiser_window}({n:size})
    torch.ones({n:size})[:, None] * {x:float}
    torch.arange({n:size})[None].expand({m:size}, -1).{f:= contiguous clone}()
""")

SIZE = family("size", """
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
    ({n:size} + {k:= 1 2 3}) // {j:= 2 3}
    {n:size} * {m:size} - {k:= 1 2}
    max({n:size} - {k:= 1 2}, 0)
    min({n:size} // 2 + 1, {m:size})
    int({n:size} / {k:= 2 4})
    int({n:size} * {k:= 0.5 2.0 1.5})
    round({n:size} / 2)
    divmod({n:size}, {k:= 2 3})[{i:= 0 1}]
    -(-{n:size} // {k:= 2 3})
    ({n:size} - {n} % {k:= 2 3})
    len({x:any>=1})
    {x:any}.dim() + {n:size}
    {x:any}.shape.numel()
    {x:any>=1}.stride(0)
    {n:size} % {m:size} if {m} else 0
    float({n:size})
    bool({n:size}) + 1
    math.ceil({n:size} / {k:= 2 3})
    math.floor({n:size} * {k:= 0.5 0.75})
    math.sqrt({n:size})
    int({n:size} ** 0.5)
    round({n:size} * {k:= 0.5 1.25 0.7})
    ({n:size} + {m:size}) // 2
    {n:size} - {m:size}
    {n:size} & 3
    {n:size} << 1
    {n:size} >> 1
    max({n:size}, {m:size}, 2)
    sum({x:any}.shape)
    min({x:any>=1}.shape)
    {x:any>=1}.shape[::-1][0]
    {x:any>=1}[1:].shape[0]
    {x:any>=1}[::2].shape[0]
    {x:any}.nbytes
    {x:any>=1}.storage_offset() + {n:size}
    {x:any}.shape == {y:any}.shape
    {x:any>=1}.stride(-1)
    {n:size} // max({m:size}, 1)
    float({n:size}) / 2
    {n:size} * 0.1
    ({n:size} + 0.5) // 1
    int({i:integer}.abs().max()) % 5 if {i}.numel() else 1
    int({x:float}.abs().sum().clamp(0, 4))
    {c:bool}.sum().item()
    -{n:size} % 3
    (-{n:size}) // 2 + {n}
    {n:size} if {n} % 2 else {m:size}
    len([i for i in range({n:size}) if i % 2])
    (lambda a, b=2: a * b)({n:size})
    int("{k:= 1 2}") + {n:size}
    {n:size} ** 2 % 7
    ({n:size}).bit_length()
    divmod({n:size}, max({m:size}, 1))[1]
""")

BRANCH = family("branch", """
    {x:any} if {n:size} {o:= > >= == != < <=} {k:= 1 2 3 4} else {y:any}
    {x:any} if {n:size} % 2 == {k:= 0 1} else {y:any}
    {x:any} if {n:size} {o:= > == <} {m:size} else {y:any}
    {x:any} if {y:any}.shape == {z:any}.shape else {y}
    {n:size} if {m:size} > {k:= 2 1 3} else 1
    {x:any} if {y:any}.numel() else {x}.clone()
    sum([{x:number} * i for i in range({k:= 3 2})])
    {x:any} if {n:size} and {m:size} > {k:= 1 2} else {y:any}
    {x:any} if {n:size} in ({k:= 1 2 4}, 3) else {y:any}
    {x:any} if {n:size} * {m:size} > {k:= 4 12} else {y:any}
    {x:any} if {n:size} // 2 == {m:size} // 2 else {y:any}
    {x:any} if not {n:size} % {k:= 2 3} else {y:any}
    {x:any} if 1 < {n:size} <= {k:= 3 5} else {y:any}
    {x:any} if {x}.is_contiguous() else {x}.contiguous()
    {x:any} if {x}.dtype is {y:any}.dtype else {x}.to({y}.dtype)
    {x:any}[0] if {x}.dim() else {x}
    {x:any} if {y:any}.shape[-1:] == {z:any}.shape[-1:] else {x}[None]
    {x:any>=1} if {x}.shape[0] > 1 else {x}.expand(2, *{x}.shape[1:])
    {x:any} if {y:number}.sum() > {k:= 0 3} else {z:same x}
    {x:number} * 2 if {y:any}.any() else {x} - 1
    {x:any} if ({y:number} >= {s:scalar y}).all() and {n:size} > 1 else {x}.clone()
    next(({x:any}.unsqueeze(i) for i in range({n:size} % 2)), {x})
    {x:number} * (1 if {n:size} > {m:size} else 2)
    {x:number} * [1, 2, 3][{n:size} % 3]
    {x:number} + ({n:size} and {m:size})
    {x:number} + ({n:size} or {m:size})
    {x:number}[tuple(slice(0, s // 2 + 1) for s in {x}.shape)]
    {x:any}.reshape([s for s in {x}.shape if s != 1])
    {x:any>=1}.reshape({x}.shape[0] // 2, 2, *{x}.shape[1:]) if {x}.shape[0] % 2 == 0 else {x}
    ({x:any}, {y:any})[{n:size} % 2]
    dict(a={x:any}, b={y:any})["a" if {n:size} > 2 else "b"]
    torch.cond({x:number}.sum() > 0, lambda a: a + 1, lambda a: a - 1, ({y:number},))
    torch.cond({n:size} > 2, lambda a: a * 2, lambda a: a.clone(), ({x:number},))
    {x:any} if {y:bool}.all().item() else {x}.clone()
    {x:number} * ({y:number}.sum() > 0)
    {x:number} * {y:number}.numel()
    {x:number} + ({n:size} if {y:any}.any() else {m:size})
    {x:number} * max([{n:size}, {m:size}, 2])
    {x:any} if max({n:size}, {m:size}) > {k:= 3 4} else {y:any}
    {x:any} if {n:size} == {m:size} == {k:= 3 4} else {y:any}
    {x:any} if {y:any}.dim() == {z:any}.dim() else {y}
    {x:any} if len({y:any}.shape) > {k:= 1 2} else {y}
    {x:any} if isinstance({n:size}, int) else {y:any}
    {x:any>=1} if {x}.stride(0) == 1 else {x}.flatten()
    {x:any} if {y:number}.shape[0] % 2 else {y}
    {x:any} if {y:number}.isnan().any() else {x}.clone()
    {x:number} if {x}.min() >= 0 else -{x}
    {x:any>=1}[:{n:size}] if {x}.shape[0] > {n} else F.pad({x}, [0, 0] * ({x}.dim() - 1) + [0, {n} - {x}.shape[0]])
    {x:any>=1}[:2] if {x}.shape[0] >= 2 else torch.cat([{x}, {x}])
    {x:any>=1}.expand(*({s:= 1 2 -1},) * 0, *{x}.shape)
""")
