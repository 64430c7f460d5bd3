"""ScanNet and S3DIS for instance segmentation by grouping: semantic classes and instances together.

Both read what mmdet3d 1.4's converters write (info files, `points/`, `semantic_mask/`, `instance_mask/`). mmdet3d's own
classes do not fit: `ScanNetSegDataset` has no instances, `ScanNetInstanceSegDataset` lacks wall and floor among the
classes, and there is none for instances of S3DIS.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet3d.datasets import S3DISSegDataset, ScanNetSegDataset, Seg3DDataset
from mmdet3d.registry import DATASETS
from mmengine.fileio import join_path

from .scene_files import IndoorDataError

_PREFIX = dict(pts='points', pts_instance_mask='instance_mask', pts_semantic_mask='semantic_mask')


class GroupingDataset(Seg3DDataset):
    """What both data sets share.

    A sample begins with the keys of `Seg3DDataset` and two more: `seg_label_mapping`, a table from the file's semantic
    ids to class indices or `ignore_index`, and `stuff_labels`, indices of the classes whose instances are dropped. With
    `test_mode`, `eval_ann_info` receives the masks when they are loaded.

    Args:
        ann_files: info files, relative to `data_root`.
        data_root: folder of the converted data set.
        data_prefix: folders `pts`, `pts_instance_mask`, `pts_semantic_mask`.
        pipeline: transforms, the first of them `LoadGroupingScene`.
        ignore_index: label of points without a class.
        stuff_classes: classes without instances.
        test_mode: whole scenes, with ground truth for the metric.

    Raises:
        IndoorDataError: an info file is missing, is none, or has no scenes; a scene that should have masks lacks them.
    """

    def __init__(self, ann_files: Sequence[str], data_root: str | None, data_prefix: dict | None, pipeline: Sequence,
                 ignore_index: int, stuff_classes: Sequence[str], test_mode: bool, **kwargs: Any) -> None:
        if isinstance(ann_files, str) or not ann_files:
            raise IndoorDataError(f'{type(self).__name__}: ann_files={ann_files!r}, expected a list of info files')
        classes = self.METAINFO['classes']
        strangers = [name for name in stuff_classes if name not in classes]
        if strangers:
            raise IndoorDataError(f'{type(self).__name__}: stuff_classes: {", ".join(strangers)}; expected names out '
                                  f'of {", ".join(classes)}')
        self.ann_files = list(ann_files)
        self.stuff_labels = np.array([classes.index(name) for name in stuff_classes], dtype=np.int64)
        # Seg3DDataset cannot do without the classes, although they are its own
        metainfo = dict(classes=classes, stuff_classes=tuple(stuff_classes))
        super().__init__(data_root=data_root, ann_file=self.ann_files[0], metainfo=metainfo,
                         data_prefix=dict(data_prefix or _PREFIX), pipeline=list(pipeline), ignore_index=ignore_index,
                         test_mode=test_mode, **kwargs)

    def get_seg_label_mapping(self, metainfo: dict | None = None) -> np.ndarray:
        """Class index of each semantic id of the files; `ignore_index` for the others."""
        mapping = np.full(max(self.METAINFO['seg_all_class_ids']) + 1, self.ignore_index, dtype=np.int64)
        ids = list(self.METAINFO['seg_valid_class_ids'])
        mapping[ids] = np.arange(len(ids))
        return mapping

    def load_data_list(self) -> list[dict]:
        """The scenes of all info files, in their order."""
        scenes: list[dict] = []
        for name in self.ann_files:
            self.ann_file = name if os.path.isabs(name) or not self.data_root else join_path(self.data_root, name)
            scenes += self._load_file(self.ann_file)
        paths = [scene['lidar_path'] for scene in scenes]
        if len(set(paths)) < len(paths):
            twice = next(path for path in paths if paths.count(path) > 1)
            raise IndoorDataError(f'{", ".join(self.ann_files)}: {twice} is listed twice. Expected each scene once')
        return scenes

    def _load_file(self, path: str) -> list[dict]:
        way_out = ('Expected an info file of tools/dataset_converters/scannet_to_mmdet3d.py or s3dis_to_mmdet3d.py, or '
                   "of mmdet3d's create_data.py of version 1.1 on; convert the data set again (key ann_file)")
        try:
            scenes = super().load_data_list()
        except FileNotFoundError:
            raise IndoorDataError(f'{path}: no such file. {way_out}') from None
        except (TypeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
            raise IndoorDataError(f'{path}: no info file ({type(error).__name__}: {error}). {way_out}') from error
        if not scenes:
            raise IndoorDataError(f'{path}: lists no scenes. {way_out}')
        return scenes

    def parse_data_info(self, info: dict) -> dict:
        """Complete the paths of a scene and add the tables of its labels.

        Raises:
            IndoorDataError: A training scene without the names of its masks.
        """
        info = super().parse_data_info(info)
        lacking = [key for key in ('pts_semantic_mask_path', 'pts_instance_mask_path') if not info.get(key)]
        if lacking and not self.test_mode:
            raise IndoorDataError(f'{self.ann_file}: {info["lidar_path"]} has no {" and no ".join(lacking)}. Expected '
                                  'a split with annotations for training; the benchmark keeps those of the test split')
        info['stuff_labels'] = self.stuff_labels
        info['ignore_index'] = self.ignore_index
        return info


@DATASETS.register_module()
class ScanNetGroupingDataset(GroupingDataset):
    """ScanNet V2 with 20 classes; walls and floors are no instances.

    Objects of categories that the benchmark leaves out keep their instances, with the label `ignore_index`: they train
    the offsets, and are void in the evaluation. Arguments: see :class:`GroupingDataset`; `ann_file` is one of
    `scannet_infos_{train,val,test}.pkl`.
    """

    METAINFO = ScanNetSegDataset.METAINFO

    def __init__(self, ann_file: str, data_root: str | None = None, data_prefix: dict | None = None,
                 pipeline: Sequence = (), ignore_index: int = -100, stuff_classes: Sequence[str] = ('wall', 'floor'),
                 test_mode: bool = False, **kwargs: Any) -> None:
        super().__init__([ann_file], data_root, data_prefix, pipeline, ignore_index, stuff_classes, test_mode, **kwargs)


@DATASETS.register_module()
class S3DISGroupingDataset(GroupingDataset):
    """S3DIS with 13 classes, all of them instances.

    The order of classes is mmdet3d's: table, chair, sofa, bookcase are 7 to 10. SoftGroup's and SSTNet's is chair,
    table, bookcase, sofa: bring constants of theirs over by name. Arguments: see :class:`GroupingDataset`; `ann_files`
    are the areas, as `['s3dis_infos_Area_1.pkl', ...]`.
    """

    METAINFO = S3DISSegDataset.METAINFO

    def __init__(self, ann_files: Sequence[str], data_root: str | None = None, data_prefix: dict | None = None,
                 pipeline: Sequence = (), ignore_index: int = -100, stuff_classes: Sequence[str] = (),
                 test_mode: bool = False, **kwargs: Any) -> None:
        super().__init__(ann_files, data_root, data_prefix, pipeline, ignore_index, stuff_classes, test_mode, **kwargs)
