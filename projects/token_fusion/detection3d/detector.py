"""Group-Free-3D (arXiv 2104.00678) with an image branch (YOLOS, arXiv 2106.00666): TokenFusion, arXiv 2204.08721.

Both detectors are trained together: the 3D losses, the image branch's 2D losses, and the l1 norm of the scores. Ways to
use the images: 'exchange' of tokens; 'concat', the paper's baseline "*", which appends the colour of a seed's pixel to
its features; 'none', plain Group-Free-3D. The image branch alone detects no 3D boxes.
"""

from __future__ import annotations

import torch
from mmdet3d.models.detectors import GroupFree3DNet
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData
from torch import Tensor, nn

from projects.runtime.errors import ConfigError, DataError

from .exchange import LayerwiseExchange
from .projection import Places, project_boxes, sample_name, to_patches, to_pixels

FUSION_MODES = ('none', 'concat', 'exchange')


class ColourAppender(nn.Module):
    """Three colour channels behind the features of the seeds, and a linear layer back to their width.

    The paper says no more than "concatenated"; the layer, at first the identity for the features, is inferred.

    Args:
        channels: Of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.merge = nn.Conv1d(channels + 3, channels, 1)
        nn.init.dirac_(self.merge.weight)
        nn.init.zeros_(self.merge.bias)

    def forward(self, features: Tensor, colours: Tensor) -> Tensor:
        """(B, C, N) of features (B, C, N) and colours (B, 3, N)."""
        return self.merge(torch.cat([features, colours], 1))


@MODELS.register_module()
class TokenFusionGroupFree3D(GroupFree3DNet):
    """See the module's description.

    Args:
        backbone: Point backbone.
        bbox_head: ``FusedGroupFree3DHead``.
        image_branch: ``DetectionViT``; needed for 'exchange'.
        image_head: 2D head; None trains no 2D detector.
        exchange: ``PointImageExchange``; needed for 'exchange'.
        fusion_mode: 'exchange', 'concat' or 'none'.
        image_loss_epochs: Epochs after which the 2D losses count 0, 120 in the official code.
        train_cfg, test_cfg, data_preprocessor, init_cfg: As for any 3D detector of mmdet3d.

    Raises:
        ConfigError: an unknown mode, a part that it needs is missing, or blocks that cannot be shared out among layers.
    """

    def __init__(self, backbone: dict, bbox_head: dict, image_branch: dict | None = None,
                 image_head: dict | None = None, exchange: dict | None = None, fusion_mode: str = 'exchange',
                 image_loss_epochs: int = 120, train_cfg: dict | None = None, test_cfg: dict | None = None,
                 data_preprocessor: dict | None = None, init_cfg: dict | None = None) -> None:
        super().__init__(backbone=backbone, bbox_head=bbox_head, train_cfg=train_cfg, test_cfg=test_cfg,
                         data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.fusion_mode, self.image_loss_epochs = fusion_mode, image_loss_epochs
        if fusion_mode not in FUSION_MODES:
            raise ConfigError(f'model.fusion_mode={fusion_mode!r}: expected one of {", ".join(FUSION_MODES)}.')
        self.image_head = None
        if fusion_mode == 'concat':
            self.colours = ColourAppender(self.bbox_head.in_channels)
        if fusion_mode == 'exchange':
            self.build_exchange(image_branch, image_head, exchange)

    def build_exchange(self, image_branch: dict | None, image_head: dict | None, exchange: dict | None) -> None:
        """The parts that the exchange needs."""
        if not image_branch or not exchange:
            raise ConfigError("model.fusion_mode='exchange' needs model.image_branch and model.exchange; one of them "
                              "is missing. Give both, or fusion_mode='none'.")
        self.image_branch = MODELS.build(image_branch)
        layers = self.bbox_head.num_decoder_layers
        self.exchange = MODELS.build(dict(num_layers=layers, point_channels=self.bbox_head.embed_dims,
                                          image_channels=self.image_branch.embed_dims, **exchange))
        if len(self.image_branch.blocks) % layers:
            raise ConfigError(f'model.image_branch.depth={len(self.image_branch.blocks)} is no multiple of '
                              f'model.bbox_head.num_decoder_layers={layers}: each layer takes as many blocks.')
        if image_head:
            self.image_head = MODELS.build(image_head)

    def images(self, inputs: dict) -> Tensor:
        """(B, V, 3, H, W)."""
        images = inputs.get('imgs')
        if images is None:
            raise DataError(f"model.fusion_mode={self.fusion_mode!r} needs images, and there are none. The pipeline "
                            "must load them and Pack3DDetInputs must have 'img' among its keys; or set "
                            "model.fusion_mode='none'.")
        return images[:, None] if images.dim() == 4 else images

    def detect(self, inputs: dict, samples: list[Det3DDataSample]) -> tuple[dict, LayerwiseExchange | None]:
        """Predictions of the 3D head, and the pass of the exchange where there is one."""
        features = self.extract_feat(inputs)
        if self.fusion_mode == 'none':
            return self.bbox_head(features), None
        images, seeds = self.images(inputs), features['fp_xyz'][-1]
        if self.fusion_mode == 'concat':
            own = features['fp_features']
            own[-1] = self.colours(own[-1], pixel_colours(images, seeds, samples))
            return self.bbox_head(features), None
        patch = self.image_branch.patch_size
        grid = (images.shape[-2] // patch, images.shape[-1] // patch)
        places = Places.stack([
            to_patches(to_pixels(own, sample.metainfo), grid, patch, sample.metainfo['img_shape'])
            for own, sample in zip(seeds, samples, strict=True)])
        run = self.exchange.begin(self.image_branch, images, places, self.image_loss_counts())
        return self.bbox_head(features, run), run

    def loss(self, batch_inputs_dict: dict, batch_data_samples: list[Det3DDataSample], **kwargs) -> dict:
        """Losses of mmdet3d's head; with an exchange ``loss_image_*``, ``loss_tokens`` and shares for the log."""
        predictions, run = self.detect(batch_inputs_dict, batch_data_samples)
        masks = [[sample.gt_pts_seg.get(key) for sample in batch_data_samples]
                 for key in ('pts_semantic_mask', 'pts_instance_mask')]
        losses = self.bbox_head.loss_by_feat(batch_inputs_dict['points'], predictions,
                                             [sample.gt_instances_3d for sample in batch_data_samples], *masks)
        if run is not None:
            losses.update(run.losses())
            losses.update(self.image_losses(run, batch_data_samples))
        return losses

    def image_loss_counts(self) -> bool:
        """Whether the 2D detector is still trained."""
        epoch = MessageHub.get_current_instance().get_info('epoch', 0)
        return self.image_head is not None and epoch < self.image_loss_epochs

    def image_losses(self, run: LayerwiseExchange, samples: list[Det3DDataSample]) -> dict[str, Tensor]:
        """2D losses, while they count."""
        if not self.image_loss_counts():
            return {}
        truth = [view for sample in samples for view in self.image_truth(sample, run.views)]
        metas = [dict(img_shape=sample.metainfo['img_shape'][:2]) for sample in samples for _ in range(run.views)]
        return self.image_head.losses(run.detections(), truth, metas)

    @staticmethod
    def image_truth(sample: Det3DDataSample, views: int) -> list[InstanceData]:
        """Boxes and labels in each view: those of the data set, or of projected 3D boxes where it has none."""
        if 'bboxes' in sample.gt_instances:
            if views != 1:
                raise DataError(f'{sample_name(sample.metainfo)}: {views} views, and 2D boxes for one. Leave '
                                "'gt_bboxes' out of the keys of Pack3DDetInputs; they are then projected 3D boxes.")
            return [sample.gt_instances]
        truth = sample.gt_instances_3d
        boxes, kept = project_boxes(truth.bboxes_3d.corners.to(truth.labels_3d.device), sample.metainfo)
        return [InstanceData(bboxes=own[seen], labels=truth.labels_3d[seen])
                for own, seen in zip(boxes, kept, strict=True)]

    def predict(self, batch_inputs_dict: dict, batch_data_samples: list[Det3DDataSample], **kwargs) -> list:
        """Samples with ``pred_instances_3d``, and of a single view ``pred_instances`` of the image branch."""
        predictions, run = self.detect(batch_inputs_dict, batch_data_samples)
        metas = [sample.metainfo for sample in batch_data_samples]
        found = self.bbox_head.predict_by_feat(batch_inputs_dict['points'], predictions, metas)
        flat = None
        if run is not None and self.image_head is not None and run.views == 1:
            flat = self.image_head.boxes(run.detections(), metas)
        return self.add_pred_to_datasample(batch_data_samples, found, flat)

    def _forward(self, batch_inputs_dict: dict, data_samples: list[Det3DDataSample] | None = None, **kwargs) -> dict:
        """Raw predictions of the 3D head."""
        return self.detect(batch_inputs_dict, data_samples)[0]


def pixel_colours(images: Tensor, points: Tensor, samples: list[Det3DDataSample]) -> Tensor:
    """Normalised colours (B, 3, N) of the pixels that points (B, N, 3) are projected to; 0 where no image (B, V, 3, H,
    W) shows them."""
    height, width = images.shape[-2:]
    places = Places.stack([
        to_patches(to_pixels(own, sample.metainfo), (height, width), 1, sample.metainfo['img_shape'])
        for own, sample in zip(points, samples, strict=True)])
    colours = images.transpose(1, 2).flatten(2)  # all views one after the other
    index = places.index[:, None].expand(-1, 3, -1)
    return colours.gather(2, index) * places.visible[:, None]
