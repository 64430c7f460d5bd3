"""RGB-D segmentation sets: a list of image, mask and depth map a line (layout of the TokenFusion code, NYUv2).

mmseg's own ``NYUDataset`` is another one: depth estimation, without class masks.
"""

from __future__ import annotations

import os

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS
from mmseg.utils import get_palette

from .errors import RGBDDataError

NYU_CLASSES = (
    'wall', 'floor', 'cabinet', 'bed', 'chair', 'sofa', 'table', 'door', 'window', 'bookshelf', 'picture', 'counter',
    'blinds', 'desk', 'shelves', 'curtain', 'dresser', 'pillow', 'mirror', 'floor mat', 'clothes', 'ceiling', 'books',
    'refrigerator', 'television', 'paper', 'towel', 'shower curtain', 'box', 'whiteboard', 'person', 'night stand',
    'toilet', 'sink', 'lamp', 'bathtub', 'bag', 'otherstructure', 'otherfurniture', 'otherprop')
SUN_CLASSES = NYU_CLASSES[:37]
COLUMNS = ('img_path', 'seg_map_path', 'depth_path')


def colours(count: int) -> list[list[int]]:
    """Distinct RGB colours for classes: mmseg's of ADE20K."""
    return get_palette('ade20k')[:count]


@DATASETS.register_module()
class RGBDSegDataset(BaseSegDataset):
    """Images with depth maps and masks, from a list.

    ``ann_file`` has a line for each sample, three paths relative to ``data_root``, separated by a tab or blanks: image,
    mask, depth map. Masks hold class indices from 0, and 255 for what is ignored. Samples get ``img_path``,
    ``seg_map_path``, ``depth_path``.

    Args:
        metainfo: ``classes``, and ``palette`` or none.

    Raises:
        RGBDDataError: the list is missing, a line has not three columns, or a file is not there.
    """

    def __init__(self, metainfo: dict | None = None, **kwargs) -> None:
        if metainfo and 'classes' in metainfo and 'palette' not in metainfo and not self.METAINFO:
            metainfo = dict(metainfo, palette=colours(len(metainfo['classes'])))
        super().__init__(metainfo=metainfo, **kwargs)

    def read_list(self) -> list[list[str]]:
        """The three paths of each line."""
        if not os.path.isfile(self.ann_file):
            raise RGBDDataError(f'{self.ann_file}: no such list (key ann_file of {type(self).__name__}). Expected '
                                'image, mask and depth map a line, separated by tabs, see data/README.md')
        samples = []
        with open(self.ann_file, encoding='utf-8') as file:
            for number, line in enumerate(file, 1):
                columns = line.rstrip('\r\n').split('\t') if '\t' in line else line.split()
                if len(columns) not in (0, len(COLUMNS)):
                    raise RGBDDataError(f'{self.ann_file}, line {number}: {len(columns)} columns. Expected three: '
                                        'image, mask, depth map, separated by tabs')
                samples += [columns] if columns else []
        if not samples:
            raise RGBDDataError(f'{self.ann_file}: the list is empty. Expected image, mask and depth map a line')
        return samples

    def load_data_list(self) -> list[dict]:
        """Paths of all samples, in the order of the list."""
        found = []
        for paths in self.read_list():
            paths = [os.path.join(self.data_root or '', path) for path in paths]
            found.append(dict(zip(COLUMNS, paths, strict=True), label_map=self.label_map,
                              reduce_zero_label=self.reduce_zero_label, seg_fields=[]))
        lacking = [path for info in found for path in (info[key] for key in COLUMNS) if not os.path.isfile(path)]
        if lacking:
            raise RGBDDataError(f'{lacking[0]}: no such file, nor {len(lacking) - 1} others that {self.ann_file} '
                                'names. Its paths are relative to data_root')
        return found


@DATASETS.register_module()
class NYUv2RGBDDataset(RGBDSegDataset):
    """NYU Depth v2 with 40 classes: 795 training and 654 test images."""

    METAINFO = dict(classes=NYU_CLASSES, palette=colours(len(NYU_CLASSES)))


@DATASETS.register_module()
class SUNRGBDSegDataset(RGBDSegDataset):
    """SUN RGB-D with 37 classes: 5,285 training and 5,050 test images, converted to the layout of NYUv2."""

    METAINFO = dict(classes=SUN_CLASSES, palette=colours(len(SUN_CLASSES)))
