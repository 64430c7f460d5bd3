"""A classification set made of a segmentation set: crops of its objects, where no ImageNet is at hand."""

import copy
from typing import Any

import cv2
import mmcv
import numpy as np
from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS, TRANSFORMS
from tqdm import tqdm

from .errors import SegDataError


def class_boxes(labels: np.ndarray, num_classes: int, min_pixels: int) -> list[tuple[int, tuple[int, int, int, int]]]:
    """The largest connected region of every class of a label map.

    Args:
        labels: H x W, class indices, others are ignored.
        num_classes: number of classes.
        min_pixels: regions with fewer are left out.

    Returns:
        (class, (x, y, width, height)) for each.
    """
    found = []
    for label in np.unique(labels):
        if label >= num_classes:
            continue
        _, _, stats, _ = cv2.connectedComponentsWithStats((labels == label).astype(np.uint8), connectivity=8)
        x, y, width, height, area = max(stats[1:].tolist(), key=lambda row: row[cv2.CC_STAT_AREA])
        if area >= min_pixels:
            found.append((int(label), (x, y, width, height)))
    return found


@DATASETS.register_module()
class ClassCropDataset(BaseDataset):
    """Crops of a segmentation set's regions with their class: one sample for each class in each image.

    A sample is the bounding box of the class's largest region in the image, with a margin; the pipeline begins behind
    the loading, with `img` (H x W x 3, BGR) and `gt_label`.

    Args:
        dataset (dict): an mmseg data set; its pipeline is not used.
        margin (float): added to each side of the box, as a share of its longer side.
        min_pixels (int): smaller regions are left out.
        pipeline (list): transforms.

    Raises:
        SegDataError: no region is left.
    """

    def __init__(self, dataset: dict[str, Any], margin: float = 0.1, min_pixels: int = 64,
                 pipeline: list | tuple = (), **kwargs) -> None:
        inner = copy.deepcopy(dict(dataset))
        inner['pipeline'] = []
        self.inner = DATASETS.build(inner)
        self.margin, self.min_pixels = margin, min_pixels
        transforms = [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in pipeline]
        super().__init__(metainfo=dict(classes=self.inner.metainfo['classes']), pipeline=transforms, **kwargs)

    def _labels(self, info: dict[str, Any]) -> np.ndarray:
        raw = mmcv.imread(info['seg_map_path'], flag='unchanged', backend='pillow')
        labels = raw.copy()
        if info.get('reduce_zero_label'):
            labels = np.where(raw == 0, 255, raw - 1).astype(raw.dtype)
        for old, new in (info.get('label_map') or {}).items():
            labels[raw == old] = new
        return labels

    def load_data_list(self) -> list[dict]:
        """One entry for each class in each image."""
        entries, classes = [], len(self.inner.metainfo['classes'])
        for index in tqdm(range(len(self.inner)), desc='regions of classes', leave=False):
            info = self.inner.get_data_info(index)
            entries += [dict(img_path=info['img_path'], box=box, gt_label=label)
                        for label, box in class_boxes(self._labels(info), classes, self.min_pixels)]
        if not entries:
            raise SegDataError(f'{self.inner.data_prefix.get("seg_map_path")}: no region of a class has at least '
                               f'{self.min_pixels} pixels in {len(self.inner)} images (key min_pixels)')
        return entries

    def prepare_data(self, index: int) -> Any:
        """Read the image, crop it, and run the pipeline."""
        info = self.get_data_info(index)
        image = mmcv.imread(info['img_path'])
        x, y, width, height = info['box']
        margin = round(self.margin * max(width, height))
        image = image[max(0, y - margin):y + height + margin, max(0, x - margin):x + width + margin]
        return self.pipeline(dict(info, img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2]))
