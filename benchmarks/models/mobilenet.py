"""MobileNetV3-Large. Howard et al. 2019, "Searching for MobileNetV3", table 1."""

from typing import NamedTuple

from torch import Tensor, nn

from benchmarks.models.case import image_case, tags


class Row(NamedTuple):
    """One row of the paper's table: an inverted residual block."""

    kernel: int
    expanded: int
    out: int
    squeeze: bool
    hardswish: bool
    stride: int


LARGE = (
    Row(3, 16, 16, False, False, 1),
    Row(3, 64, 24, False, False, 2),
    Row(3, 72, 24, False, False, 1),
    Row(5, 72, 40, True, False, 2),
    Row(5, 120, 40, True, False, 1),
    Row(5, 120, 40, True, False, 1),
    Row(3, 240, 80, False, True, 2),
    Row(3, 200, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 480, 112, True, True, 1),
    Row(3, 672, 112, True, True, 1),
    Row(5, 672, 160, True, True, 2),
    Row(5, 960, 160, True, True, 1),
    Row(5, 960, 160, True, True, 1),
)


def multiple_of_8(channels: float) -> int:
    """`channels` rounded to the nearest multiple of 8, never more than a tenth below."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def convolution(
    inner: int, out: int, kernel: int, activation: type[nn.Module] | None, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution, batch normalization and (unless None) an in-place activation."""
    layers = [
        nn.Conv2d(inner, out, kernel, stride, padding=(kernel - 1) // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out, eps=0.001, momentum=0.01),
    ]
    return nn.Sequential(*layers) if activation is None else nn.Sequential(*layers, activation(inplace=True))


class SqueezeExcitation(nn.Module):
    """Channels rescaled by a gate computed from their global means."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.activation = nn.ReLU()
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(self.fc2(self.activation(self.fc1(self.avgpool(x))))) * x


class InvertedResidual(nn.Module):
    """Expand, depthwise, squeeze and excite, project; a shortcut where shapes allow."""

    def __init__(self, channels: int, row: Row) -> None:
        super().__init__()
        self.use_shortcut = row.stride == 1 and channels == row.out
        activation = nn.Hardswish if row.hardswish else nn.ReLU
        layers: list[nn.Module] = []
        if row.expanded != channels:
            layers.append(convolution(channels, row.expanded, 1, activation))
        layers.append(convolution(row.expanded, row.expanded, row.kernel, activation, row.stride, groups=row.expanded))
        if row.squeeze:
            layers.append(SqueezeExcitation(row.expanded, multiple_of_8(row.expanded / 4)))
        layers.append(convolution(row.expanded, row.out, 1, None))
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out = self.block(x)
        if self.use_shortcut:
            out += x
        return out


class MobileNetV3(nn.Module):
    """f32[n, 3, h, w] -> logits f32[n, classes]."""

    def __init__(self, rows: tuple[Row, ...] = LARGE, classes: int = 1000) -> None:
        super().__init__()
        layers, channels = [convolution(3, 16, 3, nn.Hardswish, stride=2)], 16
        for row in rows:
            layers.append(InvertedResidual(channels, row))
            channels = row.out
        layers.append(convolution(channels, 6 * channels, 1, nn.Hardswish))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(6 * channels, 1280),
            nn.Hardswish(inplace=True),
            nn.Dropout(0.2, inplace=True),
            nn.Linear(1280, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.features(x))
        return self.classifier(x.flatten(1))


CASES = (image_case("mobilenet_v3_large", MobileNetV3, tags=tags("vision", "convolution", "inplace", "quick")),)
