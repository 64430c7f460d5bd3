"""PASCAL VOC annotations, with a word on everything that is left out or cannot be read."""

import xml.etree.ElementTree as ET
from collections import Counter
from os.path import join

from mmdet.datasets import VOCDataset
from mmdet.registry import DATASETS
from mmengine.logging import print_log

from .dropped import DroppedAnnotations
from .errors import AnnotationError
from .image_files import image_size, require_images


@DATASETS.register_module()
class CheckedVOCDataset(VOCDataset):
    """mmdet's `VOCDataset`, which counts what it leaves out and also reads other class lists.

    - Objects whose name is not among `classes` are passed over, as in mmdet, and counted.
    - Boxes without width or height, or outside the image, are passed over in training and counted;
      mmdet trains on them. When testing they stay, so that the metric is mmdet's.
    - With class names other than VOC's, `metainfo['dataset_type']` is None, so that `VOCMetric`
      prints the right names even if the folder is called VOC2007.

    Args:
        annotated: False for a test set without XML files: images alone, no boxes.
        kwargs: those of mmdet's data set.

    Raises:
        AnnotationError: while loading: a file is missing, is no VOC XML, or nothing usable is left.
    """

    def __init__(self, annotated: bool = True, **kwargs) -> None:
        self.annotated = annotated
        super().__init__(**kwargs)
        if tuple(self._metainfo['classes']) != self.METAINFO['classes']:
            self._metainfo['dataset_type'] = None

    def load_data_list(self) -> list[dict]:
        """Load the annotations; see the class."""
        self._dropped, self._names = DroppedAnnotations(), Counter()
        try:
            data_list = super().load_data_list()
        except FileNotFoundError as error:
            raise AnnotationError(f'{self.ann_file}: no such list of images.') from error
        if not data_list:
            raise AnnotationError(f'{self.ann_file}: lists no images.')
        self._report(data_list)
        del self._dropped, self._names
        return data_list

    def _report(self, data_list: list[dict]) -> None:
        require_images(self.ann_file, data_list, ' (the VOC reader expects .jpg).')
        if self.annotated:
            self._report_names(data_list)

    def _report_names(self, data_list: list[dict]) -> None:
        classes = self.metainfo['classes']
        unused = [name for name in classes if not self._names[name]]
        names = ', '.join(name for name, _ in self._names.most_common(20)) or 'none'
        if len(unused) == len(classes) and not self.test_mode:
            raise AnnotationError(
                f'{self.ann_file}: no object of its {len(data_list)} images is of the classes '
                f'{", ".join(classes[:20])}. Names in the XML files: {names}. Give yours with '
                '--cfg-options classes=a,b,c.')
        if unused:
            print_log(f'{self.ann_file}: no object is called {", ".join(unused)}. Names in the XML '
                      f'files: {names}.', logger='current', level=30)
        if self._dropped:
            print_log(self._dropped.summary(self.ann_file), logger='current', level=30)

    def parse_data_info(self, img_info: dict) -> dict:
        """Parse an image's XML, counting the objects that are left out."""
        path = img_info['xml_path']
        if not self.annotated:
            image = join(self.sub_data_root, img_info['file_name'])
            width, height = image_size(image)
            return dict(img_path=image, img_id=img_info['img_id'], width=width, height=height, instances=[])
        try:
            info = super().parse_data_info(img_info)
        except FileNotFoundError as error:
            raise AnnotationError(f'{error.filename or path}: no such file, but {self.ann_file} '
                                  f'lists {img_info["img_id"]!r}. Expected one image name without '
                                  'extension in each line.') from error
        except ET.ParseError as error:
            raise AnnotationError(f'{path}: not valid XML: {error}') from error
        except (AttributeError, TypeError, ValueError) as error:
            raise AnnotationError(
                f'{path}: not a VOC annotation: {error}. Expected size/width, size/height and, for '
                'each object, name and bndbox with xmin, ymin, xmax, ymax.') from error
        if not self.test_mode:
            info['instances'] = [item for item in info['instances'] if self._usable(item, info)]
        return info

    def _usable(self, instance: dict, info: dict) -> bool:
        """Whether a box covers some of its image; counts it if not."""
        x1, y1, x2, y2 = instance['bbox']
        if x2 <= x1 or y2 <= y1:
            reason = 'with a box without width or height'
        elif min(x2, info['width']) <= max(x1, 0) or min(y2, info['height']) <= max(y1, 0):
            reason = 'with a box outside the image'
        else:
            if self.bbox_min_size and min(x2 - x1, y2 - y1) < self.bbox_min_size:
                self._dropped.add('smaller than filter_cfg.bbox_min_size, ignored in training', info['xml_path'])
            return True
        self._dropped.add(reason, f'{info["xml_path"]}: box {[v + 1 for v in instance["bbox"]]} in '
                                  f'{info["width"]} x {info["height"]} pixels')
        return False

    def _parse_instance_info(self, raw_ann_info: ET.ElementTree, minus_one: bool = True
                             ) -> list[dict]:
        """Count the names of the objects, then parse them as mmdet does."""
        known = self.cat2label
        for name in (item.find('name').text for item in raw_ann_info.findall('object')):
            self._names[name] += 1
            if name not in known:
                self._dropped.add('of a name that is not among the classes', repr(name))
        return super()._parse_instance_info(raw_ann_info, minus_one)

    def filter_data(self) -> list[dict]:
        """Filter as mmdet does; training needs at least one image to be left."""
        kept = super().filter_data()
        if not kept:
            raise AnnotationError(
                f'{self.ann_file}: none of its {len(self.data_list)} images is left after '
                f'filter_cfg={self.filter_cfg}.')
        return kept
