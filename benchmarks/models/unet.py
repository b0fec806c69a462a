"""U-Net. Ronneberger et al. 2015, "U-Net"; with padded convolutions."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.models.case import Case, tags


def double_convolution(inner: int, out: int) -> nn.Sequential:
    """Twice 3x3 convolution, batch normalization, ReLU."""
    layers: list[nn.Module] = []
    for channels in (inner, out):
        layers += [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class Up(nn.Module):
    """Upsample, pad to the skip connection's size, join, convolve."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(channels, channels // 2, 2, stride=2)
        self.convolution = double_convolution(channels, channels // 2)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.up(x)
        rows, columns = skip.size(2) - x.size(2), skip.size(3) - x.size(3)
        x = F.pad(x, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])
        return self.convolution(torch.cat([skip, x], dim=1))


class UNet(nn.Module):
    """f32[n, 3, h, w] -> class scores f32[n, classes, h, w]; any h, w of at least 2**depth."""

    def __init__(self, width: int = 32, depth: int = 4, classes: int = 2) -> None:
        super().__init__()
        self.stem = double_convolution(3, width)
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2), double_convolution(width << level, width << level + 1))
            for level in range(depth)
        )
        self.up = nn.ModuleList(Up(width << level + 1) for level in reversed(range(depth)))
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = [self.stem(x)]
        for down in self.down:
            skips.append(down(skips[-1]))
        x = skips.pop()
        for up in self.up:
            x = up(x, skips.pop())
        return self.head(x)


CASES = (
    Case(
        name="unet",
        module=UNet,
        inputs=lambda draw, sizes: ((draw.normal(sizes["batch"], 3, sizes["height"], sizes["width"]),), {}),
        sizes={"batch": 2, "height": 96, "width": 128},
        other_sizes={"batch": 3, "height": 75, "width": 117},
        dynamic={"x": {0: "batch", 2: "height", 3: "width"}},
        tags=tags("vision", "convolution", "inplace"),
    ),
)
