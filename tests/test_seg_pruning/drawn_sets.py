"""Small segmentation and classification sets, drawn, in the layouts that data sets of mmseg and of the suite read."""

from pathlib import Path

import cv2
import numpy as np

from projects.runtime.dataset_configs import leaf_datasets, split_datasets


def draw(path, labels_path, size, classes, seed):
    """An image of blocks, and its labels: each block has a class and that class's grey."""
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, classes, (3, 4)), np.ones((-(-size[0] // 3), -(-size[1] // 4)))).astype(np.uint8)
    labels = np.ascontiguousarray(labels[:size[0], :size[1]])
    grey = labels * (200 // classes) + 20
    image = np.repeat(grey[..., None], 3, 2) + rng.integers(0, 20, (*size, 3), dtype=np.uint8)
    for file, array in ((path, image), (labels_path, labels)):
        file.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(file), array)


def fill(dataset, count=4, size=(72, 96), classes=5):
    """Write `count` images with labels where a data set's config expects them."""
    root, prefix = Path(dataset['data_root']), dataset['data_prefix']
    cityscapes = dataset['type'] == 'CityscapesDataset'
    names = [f'{"frankfurt/" * cityscapes}{index:03d}' for index in range(count)]
    for index, name in enumerate(names):
        suffixes = ('_leftImg8bit.png', '_gtFine_labelTrainIds.png') if cityscapes else ('.jpg', '.png')
        draw(root / prefix['img_path'] / (name + suffixes[0]), root / prefix['seg_map_path'] / (name + suffixes[1]),
             size, classes, index)
    if dataset.get('ann_file'):
        (root / dataset['ann_file']).parent.mkdir(parents=True, exist_ok=True)
        (root / dataset['ann_file']).write_text('\n'.join(names) + '\n')


def fill_folders(root, classes=3, count=2):
    """Write `count` images of each class into a folder of its own."""
    for label in range(classes):
        for index in range(count):
            draw(Path(root) / f'class{label}' / f'{index}.jpg', Path(root).parent / 'unused' / f'{label}{index}.png',
                 (40, 50), 5, index + 10 * label)


def fill_config(cfg, **kwargs):
    """Write what all data sets of a config read, those of its classification task included."""
    entries = split_datasets(cfg)
    loader = cfg.train_cfg.get('cls_dataloader')
    if loader:
        entries += list(leaf_datasets(loader['dataset'], 'cls_dataloader.dataset'))
    for entry in entries:
        if entry.cfg['type'] == 'ClassFolderDataset':
            fill_folders(entry.cfg['data_root'])
        else:
            fill(entry.cfg, **kwargs)
