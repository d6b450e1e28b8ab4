"""YOLOX of every published size with constructed weights, and its ONNX files, raw and decoded.

Source: "YOLOX: Exceeding YOLO Series in 2021", arXiv 2107.08430, and Megvii's published files with the same layers
(see `test_the_architecture_is_that_of_the_published_nano`).
"""

import io
import warnings

import onnx
import torch
from torch import nn

SIZES = {  # name -> depth, width, depthwise, published millions of parameters
    "nano": (0.33, 0.25, True, 0.91),
    "tiny": (0.33, 0.375, False, 5.06),
    "s": (0.33, 0.50, False, 9.0),
    "m": (0.67, 0.75, False, 25.3),
    "l": (1.0, 1.0, False, 54.2),
    "x": (1.33, 1.25, False, 99.1),
}
STRIDES = (8, 16, 32)
CLASSES = 80


def conv(inputs, outputs, kernel, stride=1, groups=1):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3),
        nn.SiLU(),
    )


def separable(inputs, outputs, kernel, stride=1):
    return nn.Sequential(conv(inputs, inputs, kernel, stride, groups=inputs), conv(inputs, outputs, 1))


class Bottleneck(nn.Module):
    def __init__(self, width, shortcut, wide):
        super().__init__()
        self.body, self.shortcut = nn.Sequential(conv(width, width, 1), wide(width, width, 3)), shortcut

    def forward(self, x):
        return x + self.body(x) if self.shortcut else self.body(x)


class CrossStage(nn.Module):
    def __init__(self, inputs, outputs, blocks, shortcut, wide):
        super().__init__()
        half = outputs // 2
        self.main = nn.Sequential(conv(inputs, half, 1), *(Bottleneck(half, shortcut, wide) for _ in range(blocks)))
        self.short, self.last = conv(inputs, half, 1), conv(2 * half, outputs, 1)

    def forward(self, x):
        return self.last(torch.cat((self.main(x), self.short(x)), 1))


class Pyramid(nn.Module):
    """Spatial pyramid pooling."""

    def __init__(self, width):
        super().__init__()
        self.first, self.last = conv(width, width // 2, 1), conv(2 * width, width, 1)
        self.pools = nn.ModuleList([nn.MaxPool2d(kernel, 1, kernel // 2) for kernel in (5, 9, 13)])

    def forward(self, x):
        x = self.first(x)
        return self.last(torch.cat((x, *(pool(x) for pool in self.pools)), 1))


class Yolox(nn.Module):
    """Maps pictures (B, 3, H, W), BGR 0 to 255, to rows (B, A, 5 + classes)."""

    def __init__(self, size, decoded=False):
        super().__init__()
        depth, width, depthwise, _ = SIZES[size]
        wide, base, blocks = (separable if depthwise else conv), int(64 * width), max(round(3 * depth), 1)
        self.decoded = decoded
        self.stem = conv(12, base, 3)
        self.dark = nn.ModuleList()
        for level, count in ((1, blocks), (2, 3 * blocks), (3, 3 * blocks), (4, blocks)):
            channels = base << level
            pool = [Pyramid(channels)] if level == 4 else []
            stage = CrossStage(channels, channels, count, level != 4, wide)
            self.dark.append(nn.Sequential(wide(channels // 2, channels, 3, 2), *pool, stage))
        c3, c4, c5 = (int(channels * width) for channels in (256, 512, 1024))
        neck = round(3 * depth)
        self.lateral, self.reduce = conv(c5, c4, 1), conv(c4, c3, 1)
        self.down4, self.down3 = (CrossStage(2 * c, c, neck, False, wide) for c in (c4, c3))
        self.stride3, self.stride4 = wide(c3, c3, 3, 2), wide(c4, c4, 3, 2)
        self.up4, self.up5 = (CrossStage(2 * c, 2 * c, neck, False, wide) for c in (c3, c4))
        hidden = int(256 * width)
        self.stems = nn.ModuleList([conv(c, hidden, 1) for c in (c3, c4, c5)])
        towers = [nn.Sequential(wide(hidden, hidden, 3), wide(hidden, hidden, 3)) for _ in range(6)]
        self.class_towers, self.box_towers = nn.ModuleList(towers[:3]), nn.ModuleList(towers[3:])
        self.categories = nn.ModuleList([nn.Conv2d(hidden, CLASSES, 1) for _ in STRIDES])
        self.boxes, self.objectness = (
            nn.ModuleList([nn.Conv2d(hidden, count, 1) for _ in STRIDES]) for count in (4, 1)
        )

    def forward(self, pictures):
        levels = [self._head(i, x) for i, x in enumerate(self._features(pictures))]
        rows = torch.cat([level.flatten(2) for level in levels], 2).permute(0, 2, 1)
        return self._decode(rows, [level.shape[2:] for level in levels]) if self.decoded else rows

    def _features(self, x):
        corners = (x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2])
        x, levels = self.stem(torch.cat(corners, 1)), []
        for stage in self.dark:
            x = stage(x)
            levels.append(x)
        _, x3, x4, x5 = levels
        twice = nn.functional.interpolate
        top = self.lateral(x5)
        middle = self.reduce(self.down4(torch.cat((twice(top, scale_factor=2), x4), 1)))
        fine = self.down3(torch.cat((twice(middle, scale_factor=2), x3), 1))
        coarse = self.up4(torch.cat((self.stride3(fine), middle), 1))
        return fine, coarse, self.up5(torch.cat((self.stride4(coarse), top), 1))

    def _head(self, level, x):
        x = self.stems[level](x)
        seen, placed = self.class_towers[level](x), self.box_towers[level](x)
        certain = self.objectness[level](placed).sigmoid()
        return torch.cat((self.boxes[level](placed), certain, self.categories[level](seen).sigmoid()), 1)

    @staticmethod
    def _decode(rows, shapes):
        cells, strides = [], []
        for (height, width), stride in zip(shapes, STRIDES, strict=True):
            y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
            cells.append(torch.stack((x, y), 2).reshape(1, -1, 2).float())
            strides.append(torch.full((1, int(height) * int(width), 1), float(stride)))
        cells, strides = torch.cat(cells, 1), torch.cat(strides, 1)
        return torch.cat(((rows[..., :2] + cells) * strides, rows[..., 2:4].exp() * strides, rows[..., 4:]), -1)


def constructed(size, seed=0):
    """Return a network of that size with seeded weights, so that its outputs depend on the picture."""
    torch.manual_seed(seed)
    network = Yolox(size).eval()
    pictures = 255 * torch.rand(2, 3, 128, 160)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):  # keeps the power of activations constant: SiLU passes 0.36 of it
                layer.weight.normal_(std=(0.36 * layer.weight[0].numel()) ** -0.5)
        network.stem[0].weight /= 255
        spread = network(pictures)[..., :4].std()
        for layer in (*network.boxes, *network.objectness, *network.categories):  # centres stay within their own cells
            layer.weight /= 3 * spread
    return network


def save_onnx(network, path, size, decoded):
    """Write a file as Megvii's tool does, with a batch fixed at 1, for pictures of (w, h)."""
    network.decoded, file = decoded, io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, size[1], size[0]),),
            file,
            input_names=["images"],
            output_names=["output"],
            opset_version=11,
            dynamo=False,
        )
    onnx.save(onnx.load_from_string(file.getvalue()), path)
    return path
