"""Models that decide by data in Python, in the ways in which models do."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def early_return(x: Tensor) -> Tensor:
    if x.sum() > 0:
        return x * 2
    return x - 1


def common_end(x: Tensor) -> Tensor:
    y = x + 1 if x.mean() > 0 else x - 1
    return F.relu(y) * x


def one_after_the_other(x: Tensor) -> Tensor:
    if x.sum() > 0:
        x = x * 2
    else:
        x = x - 3
    if x.mean() > 1:
        x = x.exp()
    return x + 1


def one_in_the_other(x: Tensor) -> Tensor:
    if x.sum() > 0:
        if x.max() > 3:
            return x * 3
        return x * 2
    return x


def chained(x: Tensor) -> Tensor:
    if (x.sum() > 0 and not (x > 2).any()) or x.min() < -5:
        return x * 2
    return x + 5


def in_place(x: Tensor) -> Tensor:
    x = x.clone()
    if x.sum() > 0:
        x[:, 0] = 5
        x.mul_(2)
    else:
        x.add_(1)
    x[:, 1] = 0
    return x


def into_an_argument(x: Tensor) -> Tensor:
    part = x[0]
    if part.sum() > 0:
        part.zero_()
    else:
        x[-1].fill_(3)
    return x.sum(1)


def until_small(x: Tensor) -> Tensor:
    size, steps = x.abs().mean(), 0
    while size > 0.5 and steps < 6:
        x = x * 0.7
        size, steps = x.abs().mean(), steps + 1
    return x + 1


def until_it_settles(x: Tensor) -> Tensor:
    for _ in range(5):
        y = x * 0.5 + 0.1
        if (y - x).abs().max() < 0.3:
            break
        x = y
    return x


def only_said(x: Tensor) -> Tensor:
    said = []
    if torch.isnan(x).any():
        said.append("not a number")
    return x * 2


def greatest(x: Tensor) -> Tensor:
    return max(x[0].sum(), x[-1].mean()) * 2


def in_order(x: Tensor) -> Any:
    return tuple(sorted([x[0].sum(), x[-1].mean(), x.max()]))


def equal(x: Tensor) -> Tensor:
    return x * 2 if torch.equal(x, x.abs()) else x * 3


def close(x: Tensor) -> Tensor:
    return x * 2 if torch.allclose(x, x.abs()) else x * 3


def contained(x: Tensor) -> Tensor:
    return x * 2 if 1 in x else x


def in_a_list(x: Tensor) -> Tensor:
    return x * 2 if x[0, 0] in [5, x.max()] else x


def numbers(x: Tensor) -> Any:
    return x, (1.5 if x.sum() > 0 else 2.5), {"n": 1 if x.sum() > 0 else 3}, bool((x > 0).all())


def numbers_of_many_ways(x: Tensor) -> Any:
    steps, is_large = 0, False
    for _ in range(4):
        x, steps = x * 0.5, steps + 1
        if x.abs().max() < 1:
            break
        is_large = is_large or bool(x[0, 0] > 1)
    return x, steps, is_large, steps / 4


def numbers_known_or_found(x: Tensor) -> Any:
    if x.sum() > 0:
        return x, 7, 0.5, x.shape[0], 1
    return x, x[x < 0].shape[0], x[0, 0].item(), x.shape[1], int(x[0, -1])


def truths(x: Tensor) -> Tensor:
    flag = (x > 0).all()
    return x * 2 if flag.item() or (torch.is_nonzero(x[0, 0]) and x.sum()) else x


def other_views(x: Tensor) -> Any:
    y = x.t() if x.sum() > 0 else x.reshape(x.shape[1], x.shape[0])
    return y.contiguous(), y.reshape(-1)


def checked_in_one_way(x: Tensor) -> Tensor:
    if x.sum() > 0:
        assert (x < 10).all(), "large"
        return x * 2
    torch._assert((x > -100).all(), "small")
    return x


def raising(x: Tensor) -> Tensor:
    if x.sum() > 0:
        y = x * 2
    else:
        y = x + 1
        _fail(len(y.shape))
    return y + 1


def _fail(rank: int) -> None:
    raise ValueError(f"negative: {rank} axes")


def drawn(x: Tensor) -> Tensor:
    y = x + torch.rand_like(x) * 0 if x.sum() > 0 else x * 2
    return y + torch.rand_like(x) * 0


def converted(x: Tensor) -> Tensor:
    """One way writes, so that what converts nothing is gone there."""
    total = x.to(torch.float32).sum()
    if total > 0:
        x = x.clone()
        x.mul_(2)
    return x + total


def remembered(x: Tensor) -> Tensor:
    if x.sum() > 0:
        flag, y = True, x + 1
    else:
        flag, y = False, x - 1
    if x[0].sum() > 0:
        return y * 2
    return y * 3 if flag else y * 5


def counted(x: Tensor) -> Tensor:
    count, y = 0, x
    for number in range(4):
        if x[0, 0] > number:
            count, y = count + 1, y + 1
    return y * count


def of_a_generator(x: Tensor) -> Tensor:
    return sum((part * 2 if part.sum() > 0 else part for part in x.unbind(1)), torch.zeros(x.shape[0]))


def mended(x: Tensor) -> Tensor:
    return x.clamp(-1, 1) if x.sum() > 0 else x + 0.5


def _scale(x: Tensor) -> int:
    return 3 if x[0, 0] > 0 else 4


def _first_or_scaled(scale: int, y: Tensor, x: Tensor) -> Tensor:
    if x.mean() > 1:
        return y
    return y * scale


def beside_a_decision(x: Tensor) -> Tensor:
    for _ in range(8):
        x = x * 0.5 + mended(x)
    return x


def number_on_the_stack(x: Tensor) -> Tensor:
    return _first_or_scaled(_scale(x), mended(x), x)


def gathered(x: Tensor) -> Tensor:
    return torch.stack([mended(part) for part in x.unbind(1)]) * mended(x).sum()


def loop_in_a_loop(x: Tensor) -> Tensor:
    outer = 0
    while x.abs().max() > 1 and outer < 4:
        inner = 0
        while x.abs().mean() > 0.7 and inner < 3:
            x, inner = x * 0.8, inner + 1
        x, outer = x * 0.9, outer + 1
    return x


def asked_again(x: Tensor) -> Tensor:
    found = torch.zeros(x.shape[0])
    for part in x.unbind(1):
        if part.sum() > found.sum():
            found = part
        elif part.max() > -2:
            found = found + part
    return found


def selected_in_turn(x: Tensor) -> Tensor:
    found = []
    for part in x.unbind(1):
        mask = part > 0.6
        if not mask.any():
            continue
        found.append(part[mask])
    return torch.cat(found) if found else x.new_zeros(0)


def asked_in_one_way(x: Tensor) -> Tensor:
    """A way asks for a size that a tensor has told which nobody holds any more."""
    found = []
    for part in x.unbind(1):
        places = (part > 0.6).nonzero().squeeze(1)
        if places.numel() > 1:
            places = places[:1]
        found.append(part[places].sum() if places.numel() else part.mean())
    return torch.stack(found)


def left_early(x: Tensor) -> Tensor:
    for scale in (0.5, 2.0, 3.0, 4.0):
        x = torch.tanh(x) * scale
        if x.max() > 1.5:
            break
    if x.min() < 0:
        return -x
    return x


# ── by sizes and numbers of data ────────────────────────────────────────


def nothing_left(x: Tensor) -> Tensor:
    kept = x[x > 0.5]
    if kept.numel() == 0:
        return x.new_zeros(1)
    return kept.sum()[None]


def selected_after(x: Tensor) -> Any:
    y = x * 2 if x.sum() > 2 else x - 1
    kept = y[y > 0]
    return kept * 3, kept.sum()


def selected_otherwise(x: Tensor) -> Any:
    kept = x[x > 0] if x.sum() > 2 else x[x <= 0]
    return kept * 3 + torch.arange(kept.shape[0]), kept.sum()


def all_or_selected(x: Tensor) -> Tensor:
    mask = x[:, 0] > 0
    if mask.all():
        return x
    return x[mask]


def shorter(x: Tensor) -> Tensor:
    if x.sum() > 2:
        x = x[:, 1:]
    return torch.relu(x) + 1


def number(x: Tensor) -> Tensor:
    total = x.sum().item()
    if total > 2:
        return x * total
    return x - total


def written_where_found(x: Tensor) -> Tensor:
    found = torch.nonzero(x[:, 0] > 0.5).squeeze(1)
    if found.numel() > 0:
        x = x.clone()
        x[found] = 9
        x = x + x[found].max()
    return x


def checked_size(x: Tensor) -> Tensor:
    kept = x[x > 0]
    if kept.shape[0] > 3:
        torch._check(kept.shape[0] < 15, lambda: "many")
        return kept.sum()
    return kept.shape[0] + x.sum()


def checked_in_the_other_way(x: Tensor) -> Tensor:
    """What a check says in one way is asked in the other, behind a check of its own."""
    count = x[x > 0].shape[0]
    if x.sum() > 0:
        torch._check(count >= 1)
        return x * 2
    torch._check(x[x < 0].shape[0] >= 1)
    return x + 1 if count >= 1 else x - 1


def folded_twice(x: Tensor) -> Tensor:
    """Folded by two periods that data says, of what no period divides the rest is padded (as TimesNet does)."""
    row = F.pad(x[0] * 2, (4, 4), value=1.0)
    for period in (x[0, :2].abs().long() + 2).tolist():
        if len(row) % period != 0:
            row = torch.cat((row, torch.zeros((len(row) // period + 1) * period - len(row))))
        row = row.reshape(len(row) // period, period).cumsum(1).reshape(-1)[:12]
    return row + x.sum()


def mended_in_turn(x: Tensor) -> Tensor:
    """By the second decision a variable holds the input on one way, and something else on the other."""
    if not torch.all(x <= 1):
        x = x / 4
    a = x + 4
    if not torch.all(x <= 1):
        x = torch.clamp(x, -1, 1)
    return torch.stack([a, x + 9])


def kept_beside(x: Tensor) -> Tensor:
    """The same, of an input that another variable still holds."""
    y = x
    if x.max() > 1:
        pass
    else:
        x = x * 2
    if x.min() < 0:
        x = x.abs()
    return x + y


def beside_what_is_written(x: Tensor) -> Tensor:
    """In one way what is written, in the other what was there before."""
    kept = x if x.sum() > 0 else x.clone()
    x[:1] = 2
    return torch.nn.functional.mse_loss(kept, x)


def hashed(x: Tensor) -> Tensor:
    """Corners of grids by their hash, of positions that are clamped where one lies outside (as grids of hashes do)."""
    found = []
    for size in (4.0, 9.0):
        is_outside = not torch.all(x <= 1) or not torch.all(x >= -1)
        inside = torch.clamp(x, -1, 1) if is_outside else x
        corners = torch.floor((inside + 1) / (2 / size)).int()
        hashes = torch.zeros_like(corners)[..., 0]
        for axis, prime in enumerate((1, 7919)):
            hashes ^= corners[..., axis] * prime
        found.append(hashes & 255)
    return torch.stack(found, -1)


def joined_if_any(x: Tensor) -> Tensor:
    return torch.cat([part * 2 for part in x.unbind(1) if part.sum() > 0])


def first_if_any(x: Tensor) -> Tensor:
    parts = [part * 2 for part in x.unbind(1) if part.sum() > 0]
    return parts[0]


def last_if_any(x: Tensor) -> Tensor:
    for part in x.unbind(1):
        if part.sum() > 0:
            last = part * 2
    return last


def written_in_one_way(x: Tensor) -> Tensor:
    """The way that ends writes to a tensor of its own; both look at one through a view that is the whole."""
    whole = x.flatten(1).permute(0, 1)
    if whole.sum() < 0 and x.dim() == 1:
        return x
    if whole.sum() < 0:
        return torch.zeros_like(x).add_(1.0)
    return whole / whole.sum().sqrt()


def added_where_data_say(x: Tensor) -> Tensor:
    """Writes in place to tensors whose sizes are numbers of data in one way, and known in the other."""
    index = x.abs().long().reshape(-1)
    owners = index.new_zeros(int(index.max()) + 1 if index.numel() > 0 else 0)
    count = int(owners.max()) + 1 if owners.numel() > 0 else 1
    ones = owners.new_ones(owners.size(0))
    sizes = owners.new_zeros(count).scatter_add_(0, owners, ones).index_add_(0, owners, ones)
    starts = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    return x + starts[owners][index].reshape(x.shape) + sizes.sum()
