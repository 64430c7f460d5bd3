"""Draws samples of a config's data as its pipeline hands them to the model: what the network is trained on.

Boxes, masks and labels lie over the transformed image; depth and other extra channels, the truth of restoration, and
point clouds seen from above, in colour, by class and by instance, stand beside it. One PNG for each sample, with a row
for each time it is drawn, so that random transforms can be seen. No window is opened.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from mmengine.config import DictAction
from tqdm import tqdm

sys.path.append(str(Path(__file__).resolve().parents[2]))
sys.path.append(str(Path(__file__).resolve().parent))

from config_data import build_datasets, read_config
from sample_panels import panels_of, sheet

from projects.runtime.atomic import write_atomic
from projects.runtime.command_line import CFG_OPTIONS_HELP, parse, run_tool
from projects.runtime.errors import DataError
from projects.runtime.image_bytes import encode_png

EPILOG = """
A dozen training samples of COCO, each drawn three times:

  python tools/analysis_tools/browse_dataset.py configs/fcos_r50.py --draws 3

Samples 5 and 17 of the test set, as it is tested on:

  python tools/analysis_tools/browse_dataset.py configs/edsr_mini.py --split test --indices 5 17
"""


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train', help='default: train')
    parser.add_argument('--num', type=int, default=12, help='samples, evenly spread over the data set (default: 12)')
    parser.add_argument('--indices', type=int, nargs='+', metavar='N', help='these samples, instead of --num')
    parser.add_argument('--draws', type=int, default=1, help='times each sample is drawn (default: 1)')
    parser.add_argument('--seed', type=int, default=0, help='of the random transforms (default: 0)')
    parser.add_argument('--channel-order', choices=['auto', 'bgr', 'rgb'], default='auto', help='of the packed images '
                        "(default: auto, OpenCV's BGR in detection and segmentation, RGB in restoration)")
    parser.add_argument('--out-dir', type=Path, help='default: work_dirs/browse/CONFIG_NAME/SPLIT')
    parser.add_argument('--not-show', action='store_true', help=argparse.SUPPRESS)  # of mmdet's script; always so
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help=CFG_OPTIONS_HELP)
    args = parse(parser, argv)
    if args.num < 1 or args.draws < 1:
        parser.error('--num and --draws: expected numbers above 0')
    return args


def chosen(size: int, args: argparse.Namespace) -> list[int]:
    """Numbers of the samples to draw.

    Raises:
        DataError: a number beyond the data set, or there are no samples.
    """
    if size == 0:
        raise DataError(f'{args.config}: the {args.split} data set has no samples')
    if args.indices is None:
        return sorted({round(place) for place in np.linspace(0, size - 1, min(args.num, size))})
    if wrong := [index for index in args.indices if not 0 <= index < size]:
        raise DataError(f'--indices {wrong[0]}: expected numbers from 0 to {size - 1}, the {args.split} set of '
                        f'{args.config} has {size} samples')
    return args.indices


def name_of(index: int, sample) -> str:
    """File name of a sample's picture: its number, and the name of the file it comes from."""
    paths = (sample.metainfo.get(key) for key in ('img_path', 'lidar_path', 'gt_path'))
    source = next((path for path in paths if path), None)
    return f'{index:06d}' + (f'_{Path(str(source)).stem}' if source else '') + '.png'


def draw(dataset, index: int, args: argparse.Namespace, bgr: bool) -> tuple[str, np.ndarray]:
    """Name and picture (RGB) of one sample.

    Raises:
        DataError: its pipeline packs nothing that can be drawn.
    """
    rows, meta = [], getattr(dataset, 'metainfo', {})
    for turn in range(args.draws):
        np.random.seed(args.seed + 1000 * turn + index)
        torch.manual_seed(args.seed + 1000 * turn + index)
        packed = dataset[index]
        if not isinstance(packed, dict) or not {'inputs', 'data_samples'} <= packed.keys():
            raise DataError(f'{args.config}: sample {index} has no "inputs" and "data_samples". Expected a pipeline of '
                            f'{args.split}_dataloader.dataset that ends with a Pack... step')
        rows.append(panels_of(packed, meta, bgr))
    if not all(rows):
        raise DataError(f'{args.config}: sample {index} holds neither an image nor points')
    return name_of(index, packed['data_samples']), sheet(rows)


def main(argv=None) -> None:
    args = parse_args(argv)
    cfg = read_config(args.config, args.cfg_options, args.split)
    bgr = dict(bgr=True, rgb=False).get(args.channel_order, cfg.get('default_scope', 'mmengine') != 'mmengine')
    out = args.out_dir or Path('work_dirs/browse') / Path(args.config).stem / args.split
    datasets = build_datasets(cfg, args.split)
    count = 0
    for number, dataset in enumerate(datasets):
        name = getattr(dataset, 'metainfo', {}).get('dataset_type') or str(number)
        folder = out / str(name) if len(datasets) > 1 else out
        for index in tqdm(chosen(len(dataset), args), desc=folder.name):
            file, picture = draw(dataset, index, args, bgr)
            write_atomic(folder / file, encode_png(picture))
            count += 1
    print(f'{count} pictures are in {out}/')


if __name__ == '__main__':
    run_tool(main)
