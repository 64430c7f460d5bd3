"""`RestorationDataset`: pairs of folders, single folders and lists of images, checked when the data set is built."""

import os
import re

from mmengine.dataset import BaseDataset
from mmengine.fileio import join_path, list_dir_or_file, list_from_file
from mmengine.logging import print_log
from mmengine.registry import DATASETS

from projects.runtime.errors import DataError

from .image_files import IMAGE_SUFFIXES


@DATASETS.register_module()
class RestorationDataset(BaseDataset):
    """Images of a restoration task; arguments are those of mmagic's `BasicImageDataset`, and a few more.

    Layouts, by arguments (folders count from `data_root`):

    - EDSR: `data_prefix=dict(img='Set5/LR_bicubic/X2', gt='Set5/HR')`, `filename_tmpl=dict(img='{}x2', gt='{}')`.
    - Equal names: `data_prefix=dict(img='Set5/LR_x2', gt='Set5/HR_x2')`.
    - Rain: `data_prefix=dict(img='Rain100L', gt='Rain100L')`, `filename_tmpl=dict(img='rain-{}', gt='norain-{}')`.
    - Truth alone (`data_prefix=dict(gt='T91')`): a transform makes the input (`BicubicDownsample`, or `CopyValues` and
      `AddGaussianNoise`). With `recursive=True` this reads ImageNet.
    - Input alone (`data_prefix=dict(img='DIV2K_test_LR')`), where the truth is withheld.

    Args:
        ann_file (str): List of images, one a line, behind which anything may stand after a space (as BasicSR's
            `meta_info` files have it); without one the folder of `search_key` is listed.
        metainfo (dict, optional): `dataset_type` is the name of the set in pictures.
        data_root (str): Folder of all others.
        data_prefix (dict[str, str]): Folder of each kind of image: `img` is the input, `gt` the truth.
        pipeline (list): Transforms.
        filename_tmpl (dict[str, str], optional): How each kind's file name is made from the common one.
        search_key (str, optional): The kind whose folder is listed; by default the first one of `data_prefix`.
        img_suffix (tuple[str]): Suffixes of images.
        recursive (bool): Whether sub-folders are listed.
        scale (int): How many times larger the truth is; transforms find it in `results['scale']`.
        index_range (tuple[int, int], optional): First and last number of images whose names begin with one: (1, 800)
            are the training images of DIV2K.
        backend_args (dict, optional): Of mmengine's storage backend. Remote files are not looked for beforehand.
        kwargs: As for mmengine's `BaseDataset` (`test_mode`, `indices`, `lazy_init`...).

    Raises:
        DataError: while loading: a folder or a partner is missing, no image is found, a name occurs twice. Without
            `ann_file` both folders must hold the same images.
    """

    METAINFO = dict(dataset_type='restoration', task_name='restoration')

    def __init__(self, ann_file='', metainfo=None, data_root='', data_prefix=None, pipeline=(), *, filename_tmpl=None,
                 search_key=None, img_suffix=IMAGE_SUFFIXES, recursive=False, scale=1, index_range=None,
                 backend_args=None, **kwargs):
        data_prefix = dict(data_prefix or dict(img=''))
        self.filename_tmpl = {key: (filename_tmpl or {}).get(key, '{}') for key in data_prefix}
        self.search_key = search_key or next(iter(data_prefix))
        if self.search_key not in data_prefix:
            raise DataError(f'search_key={search_key!r}: expected one of data_prefix, {list(data_prefix)}')
        for key, template in self.filename_tmpl.items():
            if template.count('{}') != 1:
                raise DataError(f'filename_tmpl.{key}={template!r}: expected one {{}}, in place of the common name')
        suffixes = (img_suffix,) if isinstance(img_suffix, str) else tuple(img_suffix)
        self.img_suffix = tuple({suffix: None for item in suffixes for suffix in (item, item.lower(), item.upper())})
        self.recursive, self.scale, self.backend_args = recursive, scale, backend_args
        self.index_range = tuple(index_range) if index_range else None
        super().__init__(ann_file=ann_file, metainfo=metainfo, data_root=data_root, data_prefix=data_prefix,
                         pipeline=list(pipeline), **kwargs)

    @classmethod
    def _load_metainfo(cls, metainfo=None):
        """mmengine takes every text here for a file to read; ours are names."""
        return {**cls.METAINFO, **(metainfo or {})}

    def load_data_list(self):
        """One dict an image: `key`, `scale`, and a path `img_path`, `gt_path`... for each kind."""
        files = self._listed_files() if self.ann_file else self._found_files()
        keys = [key for key in sorted(files[self.search_key]) if self._in_range(key)]
        if not keys:
            raise DataError(f'{self._place(self.search_key)}: no image is left of {len(files[self.search_key])} '
                            f'(index_range={self.index_range}).')
        return [dict(key=key, scale=self.scale, **{f'{kind}_path': join_path(
            self.data_prefix[kind], found[key], backend_args=self.backend_args) for kind, found in files.items()})
            for key in keys]

    # ---- from the folders

    def _found_files(self):
        """For each kind its files: common name -> path in the folder."""
        files = {kind: self._list(kind) for kind in self.data_prefix}
        listed = {key for key in files[self.search_key] if self._in_range(key)}
        for kind, found in files.items():
            if kind != self.search_key:
                self._compare(listed, {key for key in found if self._in_range(key)}, kind)
        return files

    def _list(self, kind):
        folder = self.data_prefix[kind]
        if self.backend_args is None and not os.path.isdir(folder):
            raise DataError(f'{folder}: no such folder (data_prefix.{kind} under data_root={self.data_root!r}). '
                            'data/README.md lists the layouts.')
        pattern = re.compile(re.escape(self.filename_tmpl[kind]).replace(r'\{\}', '(.+)'))
        found, others = {}, 0
        for path in list_dir_or_file(folder, list_dir=False, suffix=self.img_suffix, recursive=self.recursive,
                                     backend_args=self.backend_args):
            parent, name = os.path.split(path)
            match = pattern.fullmatch(os.path.splitext(name)[0])
            if not match:
                others += 1
                continue
            key = os.path.join(parent, match[1])
            if key in found:
                raise DataError(f'{folder}: {found[key]} and {path} are both image {key!r}. Remove one.')
            found[key] = path
        if not found:
            raise DataError(f'{self._place(kind)}: no image whose name is like {self.filename_tmpl[kind]!r} and ends '
                            f'in {", ".join(self.img_suffix)} ({others} others).')
        if others and list(self.data_prefix.values()).count(folder) == 1:
            print_log(f'{folder}: {others} images are left out, their names are not like {self.filename_tmpl[kind]!r}.',
                      logger='current', level=30)
        return found

    def _compare(self, listed, partners, kind):
        """Raise `DataError` unless two folders hold the same images."""
        for lacks, has, missing in ((kind, self.search_key, listed - partners),
                                    (self.search_key, kind, partners - listed)):
            if missing:
                key = min(missing)
                template = self.filename_tmpl[lacks].format(os.path.basename(key))
                raise DataError(
                    f'{self._place(lacks)}: {len(missing)} images of {self.data_prefix[has]} have no partner here, the '
                    f'first is {key!r}: expected a file {template}.*. Complete the folder, set filename_tmpl, or name '
                    'the images to use in an ann_file.')

    # ---- from a list

    def _listed_files(self):
        try:
            lines = list_from_file(self.ann_file, backend_args=self.backend_args)
        except OSError as error:
            raise DataError(f'{self.ann_file}: no such list of images (ann_file).') from error
        names = [line.split(' ')[0] for line in (line.strip() for line in lines) if line]
        if not names:
            raise DataError(f'{self.ann_file}: lists no images.')
        files = {kind: {} for kind in self.data_prefix}
        for name in names:
            key, suffix = os.path.splitext(name)
            parent, stem = os.path.split(key)
            if key in files[self.search_key]:
                raise DataError(f'{self.ann_file}: lists {key!r} twice.')
            for kind, template in self.filename_tmpl.items():
                files[kind][key] = os.path.join(parent, template.format(stem) + suffix)
        if self.backend_args is None:
            self._require(files)
        return files

    def _require(self, files):
        for kind, found in files.items():
            missing = [path for key, path in found.items() if self._in_range(key)
                       and not os.path.exists(os.path.join(self.data_prefix[kind], path))]
            if missing:
                raise DataError(f'{self.ann_file}: {len(missing)} of its {len(found)} images are missing in '
                                f'{self._place(kind)}, the first is {missing[0]}.')

    # ---- both

    def _place(self, kind):
        return f'{self.data_prefix[kind]} (data_prefix.{kind})'

    def _in_range(self, key):
        if self.index_range is None:
            return True
        number = re.match(r'\d+', os.path.basename(key))
        if number is None:
            raise DataError(f'index_range={self.index_range}: the name of image {key!r} in '
                            f'{self._place(self.search_key)} does not begin with a number.')
        return self.index_range[0] <= int(number[0]) <= self.index_range[1]
