"""A small residual network for images from 8x8 on: the teacher of the tasks of images."""

from torch import Tensor, nn


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2015, arXiv:1512.03385). (N, c_in, h, w) -> (N, c_out, h/stride,
    w/stride).
    """

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        same = stride == 1 and c_in == c_out
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))
        )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        out: Tensor = self.relu(self.bn2(self.conv2(y)) + self.shortcut(x))
        return out


def resnet(classes: int = 10, widths: tuple[int, ...] = (64, 128, 256), channels: int = 1) -> nn.Module:
    """(N, channels, h, w) float in [0, 1] -> (N, classes) logits. The stem halves h and w, each later stage halves them
    again.
    """
    stem = nn.Sequential(nn.Conv2d(channels, widths[0], 3, 2, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU())
    strides = [1] + [2] * (len(widths) - 1)
    stages = [Block(c_in, c_out, s) for c_in, c_out, s in zip((widths[0], *widths), widths, strides, strict=False)]
    return nn.Sequential(stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes))
