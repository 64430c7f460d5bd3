"""`ImageRestorer`: the model of the restoration task, around any network that maps images to images."""

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS

from projects.runtime.errors import ConfigError

from .self_ensemble import self_ensemble
from .tiling import tiled

TEST_CFG = dict(tile=None, tile_overlap=16, self_ensemble=False)


@MODELS.register_module()
class ImageRestorer(BaseModel):
    """Super-resolution, denoising, deraining; mmagic's `BaseEditModel`, with tiles and self-ensemble when testing.

    Args:
        generator (dict): The network. If it has a true attribute `multi_scale`, its `forward` also gets `scale`.
        pixel_loss (dict, optional): Loss of prediction and truth, both in the network's range.
        train_cfg (dict, optional): For subclasses.
        test_cfg (dict, optional): `tile`, side of the parts that an image is run in (None: the whole image at once);
            `tile_overlap`, their surroundings, in pixels of the input; `self_ensemble`, whether the eight flips and
            transposes are averaged. See :func:`..tiling.tiled` and :func:`..self_ensemble.self_ensemble`.
        data_preprocessor (dict, optional): By default `RestorationDataPreprocessor`.
        init_cfg (dict, optional): As in mmengine.

    Raises:
        ConfigError: an unknown key in `test_cfg`, or tiles that do not fit `pad_size_divisor`.
    """

    def __init__(self, generator, pixel_loss=None, train_cfg=None, test_cfg=None, data_preprocessor=None,
                 init_cfg=None):
        super().__init__(data_preprocessor or dict(type='RestorationDataPreprocessor'), init_cfg)
        self.generator = MODELS.build(generator)
        self.pixel_loss = MODELS.build(pixel_loss) if pixel_loss else None
        self.train_cfg = train_cfg
        self.test_cfg = self._checked(dict(test_cfg or {}))

    def _checked(self, test_cfg):
        unknown = test_cfg.keys() - TEST_CFG.keys()
        if unknown:
            raise ConfigError(f'model.test_cfg: unknown {", ".join(sorted(unknown))}, expected {", ".join(TEST_CFG)}')
        test_cfg = TEST_CFG | test_cfg
        tile, overlap = test_cfg['tile'], test_cfg['tile_overlap']
        divisor = getattr(self.data_preprocessor, 'pad_size_divisor', 1)
        if tile is not None and (tile < 1 or overlap < 0 or tile % divisor or overlap % divisor):
            raise ConfigError(f'model.test_cfg: tile={tile}, tile_overlap={overlap}: expected pixels, in multiples of '
                              f'the pad_size_divisor {divisor}')
        return test_cfg

    def forward(self, inputs, data_samples=None, mode='tensor'):
        """Run the model.

        Args:
            inputs (Tensor): (N, C, H, W), from the data preprocessor.
            data_samples (list[RestorationDataSample], optional): One for each image.
            mode (str): 'tensor' returns the network's output (N, C, sH, sW); 'loss' a dict of losses; 'predict' the
                data samples with `pred_img`, (3, sH, sW) in 0..255.
        """
        if mode == 'tensor':
            return self.forward_tensor(inputs, data_samples)
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        raise ValueError(f"mode={mode!r}: expected 'tensor', 'loss' or 'predict'")

    def forward_tensor(self, inputs, data_samples=None):
        """The network's output for a batch; subclasses may condition the network on the samples here."""
        if getattr(self.generator, 'multi_scale', False) and data_samples:
            return self.generator(inputs, scale=data_samples[0].scale)
        return self.generator(inputs)

    def loss(self, inputs, data_samples):
        """Losses of a training batch: `loss_pixel`."""
        if self.pixel_loss is None:
            raise ConfigError('model.pixel_loss is not set, training needs it: for example dict(type="L1Loss")')
        target = torch.stack([sample.gt_img for sample in data_samples])
        return dict(loss_pixel=self.pixel_loss(self.forward_tensor(inputs, data_samples), target))

    @torch.no_grad()
    def predict(self, inputs, data_samples):
        """Restore a batch; each data sample gets `pred_img`."""
        outputs = self.restore(inputs, data_samples)
        scale = outputs.shape[-1] // inputs.shape[-1]
        images = self.data_preprocessor.destruct(outputs, data_samples, scale)
        for sample, image in zip(data_samples, images, strict=True):
            sample.pred_img = image
        return data_samples

    def restore(self, inputs, data_samples=None):
        """The network's output as `test_cfg` wants it: in tiles, averaged over flips, or plain."""
        def network(image):
            return self.forward_tensor(image, data_samples)

        def in_tiles(image):
            return tiled(network, image, self.test_cfg['tile'], self.test_cfg['tile_overlap'])

        run = network if self.test_cfg['tile'] is None else in_tiles
        return self_ensemble(run, inputs) if self.test_cfg['self_ensemble'] else run(inputs)
