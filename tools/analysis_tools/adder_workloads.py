"""What benchmark_adder.py measures: layer shapes of real networks, found by running them without memory, and models."""

import math
from collections import Counter
from typing import NamedTuple

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from projects.adder import QuantAdder2d
from projects.adder.quantization import adder_layers, calibrate, quantize

ROOT = __file__.rsplit('/tools/', 1)[0]


class LayerShape(NamedTuple):
    """One layer: its input, its filters, and how many layers of the network are like it."""

    images: int
    channels: int
    height: int
    width: int
    filters: int
    window: int
    stride: int
    count: int = 1

    @property
    def padding(self):
        return self.window // 2

    @property
    def positions(self):
        return math.prod((x + 2 * self.padding - self.window) // self.stride + 1 for x in (self.height, self.width))

    @property
    def macs(self):
        """Positions of the inner loop (multiply-accumulates of the convolution)."""
        return self.images * self.positions * self.filters * self.channels * self.window ** 2

    def __str__(self):
        return (f'{self.channels}->{self.filters} {self.window}x{self.window}/{self.stride} '
                f'{self.height}x{self.width}' + (f' N={self.images}' if self.images > 1 else ''))


def adder_shapes(model, *inputs):
    """Distinct adder layers of ``model`` at these inputs, in order; no memory is used."""
    seen = Counter()
    model.to('meta')
    model.eval()

    def hook(module, args):
        seen[LayerShape(*args[0].shape, module.out_channels, module.kernel_size[0], module.stride[0])] += 1

    for layer in adder_layers(model).values():
        layer.register_forward_pre_hook(hook)
    with torch.no_grad():
        model(*(x.to('meta') if isinstance(x, torch.Tensor) else [y.to('meta') for y in x] for x in inputs))
    return [shape._replace(count=count) for shape, count in seen.items()]


def _build(part):
    init_default_scope('mmdet')
    cfg = Config.fromfile(f'{ROOT}/configs/adder_fcos_r50.py').model[part]
    if part == 'backbone':
        cfg.out_indices = (0, 1, 2, 3)
    return MODELS.build(cfg)


def _pyramid(height, width):
    sizes = [(math.ceil(height / stride), math.ceil(width / stride)) for stride in (8, 16, 32)]
    return [torch.empty(1, channels, *size, device='meta') for channels, size in zip((512, 1024, 2048), sizes,
                                                                                     strict=True)]


def shape_sets():
    """Name to function that returns the layer shapes of a network."""
    return {
        'published': lambda: [LayerShape(2, 64, 56, 56, 64, 3, 1)],
        'resnet50-800x1333': lambda: adder_shapes(_build('backbone'), torch.empty(1, 3, 800, 1333, device='meta')),
        'resnet50-224': lambda: adder_shapes(_build('backbone'), torch.empty(1, 3, 224, 224, device='meta')),
        'fpn-800x1333': lambda: adder_shapes(_build('neck'), _pyramid(800, 1333)),
        # EDSR's two widths, on the 96x96 patches of x2 training and on an input for 720p at x4
        'edsr': lambda: [LayerShape(1, 64, 180, 320, 64, 3, 1), LayerShape(16, 64, 48, 48, 64, 3, 1),
                         LayerShape(1, 256, 96, 96, 256, 3, 1)],
    }


def detectors(size=(800, 1344)):
    """Name to (model, images): FCOS R-50 with convolutions, with adder layers in backbone and neck, and quantised.

    The images stand for 1333x800, which the detectors pad to a multiple of 32. Weights are random: time does not
    depend on them. Calibration takes one random image for the same reason.
    """
    init_default_scope('mmdet')
    torch.manual_seed(0)
    image = torch.randn(1, 3, *size)
    found = {name: MODELS.build(Config.fromfile(f'{ROOT}/configs/{config}.py').model) for name, config in (
        ('FCOS R-50, conv2d', 'fcos_r50'), ('Adder FCOS R-50 (B+N)', 'adder_fcos_r50'))}
    integers = MODELS.build(Config.fromfile(f'{ROOT}/configs/adder_fcos_r50.py').model)
    integers.eval()
    with torch.no_grad(), calibrate(integers) as ranges:
        integers(image, mode='tensor')
    quantize(integers, ranges, 'shared')
    found['Adder FCOS R-50 (B+N), int8'] = integers
    return found, image


def detector_steps(model, image):
    """(inference, training step or None) of a detector as functions without arguments."""
    sample = DetDataSample(metainfo=dict(img_shape=image.shape[2:], ori_shape=image.shape[2:], scale_factor=(1., 1.),
                                         batch_input_shape=image.shape[2:], pad_shape=image.shape[2:]))
    corners = torch.rand(8, 2) * torch.tensor(image.shape[:1:-1]) * 0.7
    sample.gt_instances = InstanceData(bboxes=torch.cat([corners, corners + 150], 1), labels=torch.arange(8))

    @torch.no_grad()
    def inference():
        model.eval()
        model.predict(image, [sample])

    if any(isinstance(module, QuantAdder2d) for module in model.modules()):
        return inference, None
    optimizer = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9)

    def training():
        model.train()
        optimizer.zero_grad()
        sum(torch.as_tensor(loss).sum() for loss in model.loss(image, [sample]).values()).backward()
        optimizer.step()

    return inference, training
