"""TokenFusion for image translation (arXiv 2204.08721): aligned images of M modalities to an image of another one.

Deviations from the official code:

- The generator is run once for each step, not three times: its weights do not change between the discriminator's and
  its own update. The discriminator sees real and generated images in one batch.
- The discriminator's weights get no gradient from the generator's loss (official: computed, then dropped), and the
  generator's none from the discriminator's.
- The sum of scores is that of an image, not of the batch: equal at the official batch size of 1, and independent of
  batch size and number of processes.
- Cross entropies are computed from logits.
- Validation runs in evaluation mode; officially stochastic depth stays on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from mmengine.model import BaseModel, is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional

from projects.runtime.errors import ConfigError

from ..encoder import Scored
from ..losses import channel_sparsity_loss, substituted_shares, token_sparsity_loss
from .discriminator import adversarial_loss
from .sample import TranslationSample

FUSIONS = ('exchange', 'concat', 'none')
CHANNELS = 3


@contextmanager
def frozen(network: nn.Module) -> Iterator[nn.Module]:
    """The network itself, without data-parallel wrapper and with weights that get no gradient."""
    network = network.module if is_model_wrapper(network) else network
    network.requires_grad_(False)
    try:
        yield network
    finally:
        network.requires_grad_(True)


@MODELS.register_module()
class TokenFusionTranslator(BaseModel):
    """Generator and discriminator with their adversarial training.

    Several processes need ``model_wrapper_cfg=dict(type='MMSeparateDistributedDataParallel')`` in the config.

    Args:
        inputs: Domains of the inputs, such as ('reshading', 'edge_texture'); a part of those that the data set loads.
        fusion: 'exchange' of tokens; 'none', streams that share weights and do not meet (the only choice for one
            input); 'concat', one stream that takes all inputs as channels (form inferred: the same widths).
        generator: Arguments of ``TokenFusionGenerator``, but those that follow from ``inputs`` and ``fusion``.
        discriminator: Alike of ``TokenFusionDiscriminator``; None for a model that is only tested.
        adversarial_weight: 1.
        l1_weight: Of the mean absolute difference of each branch and of the ensemble, 100 in the official code.
        sparsity_weight: Of the sum of all scores of an image; 1e-3 in the official code, 1e-4 in the paper.
        channel_weight: Of the l1 norm of the scales by which the generator's encoder exchanges channels
            (``generator.channel_threshold``).
        data_preprocessor: By default ``TranslationDataPreprocessor`` for ``inputs``.

    Raises:
        ConfigError: an unknown ``fusion``, or exchange with a single input.
    """

    def __init__(self, inputs: Sequence[str], fusion: str = 'exchange', generator: dict | None = None,
                 discriminator: dict | None = None, adversarial_weight: float = 1., l1_weight: float = 100.,
                 sparsity_weight: float = 1e-3, channel_weight: float = 1e-3,
                 data_preprocessor: dict | None = None, init_cfg: dict | None = None) -> None:
        inputs = tuple(inputs)
        super().__init__(dict(data_preprocessor or dict(type='TranslationDataPreprocessor'), inputs=inputs), init_cfg)
        if fusion not in FUSIONS:
            raise ConfigError(f'model.fusion={fusion!r}: expected one of {", ".join(FUSIONS)}')
        if fusion == 'exchange' and len(inputs) < 2:
            raise ConfigError(f"model.inputs={list(inputs)}: expected two or more inputs to exchange tokens between; "
                              "for a single one set model.fusion='none'")
        self.inputs, self.fusion = inputs, fusion
        self.branches = ('+'.join(inputs),) if fusion == 'concat' else inputs
        self.adversarial_weight, self.l1_weight = adversarial_weight, l1_weight
        self.sparsity_weight, self.channel_weight = sparsity_weight, channel_weight
        sizes = dict(num_modalities=len(self.branches),
                     in_channels=CHANNELS * (len(inputs) // len(self.branches)))
        scored = {} if fusion == 'exchange' else dict(scored='none')
        self.generator = MODELS.build(dict(type='TokenFusionGenerator') | (generator or {}) | sizes | scored)
        self.discriminator = None
        if discriminator is not None:
            sizes['in_channels'] += CHANNELS
            self.discriminator = MODELS.build(dict(type='TokenFusionDiscriminator') | discriminator | sizes)

    def streams(self, inputs: Tensor) -> Tensor:
        """What the networks take, (M, B, C, H, W), of inputs (M, B, 3, H, W); 'concat' makes one stream of them."""
        return inputs.transpose(0, 1).flatten(1, 2)[None] if self.fusion == 'concat' else inputs

    # ---- checkpoints: the networks' own data-parallel wrappers do not show in names

    @contextmanager
    def _unwrapped(self) -> Iterator[None]:
        wrapped = {name: part for name, part in self._modules.items() if is_model_wrapper(part)}
        self._modules.update({name: part.module for name, part in wrapped.items()})
        try:
            yield
        finally:
            self._modules.update(wrapped)

    def state_dict(self, *args, **kwargs) -> dict[str, Tensor]:
        """The weights, under the names that they have in a single process."""
        with self._unwrapped():
            return super().state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: dict[str, Tensor], strict: bool = True, assign: bool = False):
        """Load weights under the names that they have in a single process."""
        with self._unwrapped():
            return super().load_state_dict(state_dict, strict, assign)

    # ---- training

    def train_step(self, data: dict, optim_wrapper: OptimWrapperDict) -> dict[str, Tensor]:
        """One update of the discriminator, then one of the generator.

        Args:
            data: A batch of the data loader.
            optim_wrapper: ``generator`` and ``discriminator``, see ``AdversarialOptimWrapperConstructor``.

        Returns:
            Losses, each network's sum as ``loss_generator`` and ``loss_discriminator``, and shares of replaced tokens.

        Raises:
            ConfigError: there is no discriminator.
        """
        if self.discriminator is None:
            raise ConfigError('model.discriminator is None: training needs one, for example dict(arch="b2")')
        data = self.data_preprocessor(data, True)
        streams = self.streams(data['inputs'])
        target = torch.stack([sample.gt_img for sample in data['data_samples']])
        of_generator, of_discriminator = optim_wrapper['generator'], optim_wrapper['discriminator']
        with of_generator.optim_context(self.generator):
            images, ensemble, scored = self.generator(streams)
        with of_discriminator.optim_context(self.discriminator):
            losses = self.discriminator_losses(streams, images.detach(), target)
        loss, log = self.parse_losses(losses)
        of_discriminator.update_params(loss)
        log['loss_discriminator'] = log.pop('loss').detach()
        with of_generator.optim_context(self.generator), frozen(self.discriminator) as judge:
            losses = self.generator_losses(judge(streams, images), images, ensemble, scored, target)
        loss, own = self.parse_losses(losses)
        of_generator.update_params(loss)
        log['loss_generator'] = own.pop('loss').detach()
        return log | own | self.shares(scored)

    def discriminator_losses(self, streams: Tensor, images: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Half the cross entropies of real and of generated images."""
        logits = self.discriminator(torch.cat([streams, streams], 1),
                                    torch.cat([target.expand_as(images), images], 1))
        real, fake = logits.chunk(2, 1)
        return dict(loss_d_real=0.5 * adversarial_loss(real, True), loss_d_fake=0.5 * adversarial_loss(fake, False))

    def generator_losses(self, logits: Tensor, images: Tensor, ensemble: Tensor, scored: list[Scored],
                         target: Tensor) -> dict[str, Tensor]:
        """Deceiving the discriminator, distance from the target, and sparsity of scores."""
        distances = (images - target).abs().flatten(1).mean(1)
        losses = dict(loss_g_adversarial=self.adversarial_weight * adversarial_loss(logits, True),
                      loss_g_l1=self.l1_weight * distances.sum())
        if len(self.branches) > 1:
            losses['loss_g_l1_ensemble'] = self.l1_weight * functional.l1_loss(ensemble, target)
        if scored:
            losses['loss_token_sparsity'] = token_sparsity_loss(
                [layer.scores for layer in scored], self.sparsity_weight) / len(target)
        channels = channel_sparsity_loss(self.generator, self.channel_weight)
        return losses if channels is None else losses | dict(loss_channel_sparsity=channels)

    def shares(self, scored: list[Scored]) -> dict[str, Tensor]:
        """Per cent of tokens that were replaced, for the log."""
        if not scored:
            return {}
        return substituted_shares([layer.scores for layer in scored], [layer.stage for layer in scored],
                                  self.threshold, self.branches)

    @property
    def threshold(self) -> float:
        """Scores below it are replaced."""
        network = self.generator.module if is_model_wrapper(self.generator) else self.generator
        return network.encoder.threshold

    # ---- testing

    def forward(self, inputs: Tensor, data_samples: list[TranslationSample] | None = None, mode: str = 'tensor'):
        """Translate.

        Args:
            inputs: (M, B, 3, H, W) in -1..1, from the data preprocessor.
            data_samples: One for each scene.
            mode: 'tensor' returns what the generator does; 'predict' the data samples with their predictions. There is
                no 'loss': ``train_step`` updates two networks in turn.

        Raises:
            ValueError: another mode.
        """
        if mode == 'tensor':
            return self.generator(self.streams(inputs))
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        raise ValueError(f"mode={mode!r}: expected 'tensor' or 'predict'; several processes need "
                         "model_wrapper_cfg=dict(type='MMSeparateDistributedDataParallel')")

    @torch.no_grad()
    def predict(self, inputs: Tensor, data_samples: list[TranslationSample]) -> list[TranslationSample]:
        """Data samples with the images that the generator makes of them."""
        images, ensemble, scored = self.generator(self.streams(inputs))
        replaced = self.replaced_pixels(scored, inputs.shape[-2:])
        for index, sample in enumerate(data_samples):
            sample.set_metainfo(dict(branches=self.branches, input_names=self.inputs))
            sample.inputs, sample.pred_img = inputs[:, index], ensemble[index].float()
            sample.pred_branches = images[:, index].float()
            if replaced is not None:
                sample.replaced = replaced[:, index]
        return data_samples

    def replaced_pixels(self, scored: list[Scored], size: tuple[int, int]) -> Tensor | None:
        """Share of layers that replaced the token at each pixel, (M, B, H, W); None without exchange."""
        masks = [functional.interpolate((layer.scores < self.threshold).float().unflatten(-1, layer.grid), size)
                 for layer in scored]
        return torch.stack(masks).mean(0) if masks else None
