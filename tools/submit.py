"""Turn predictions into a benchmark's submission archive, or check an archive.

    python tools/submit.py TRACK PREDICTIONS --out DIR --name ALG [options]
    python tools/submit.py TRACK --check ARCHIVE [options]

PREDICTIONS is what ``tools/test.py CONFIG CHECKPOINT --out PREDICTIONS`` writes: a file .pkl, for
segmentation a folder of label images; ntire-sr takes a folder of PNG files, too.
"""
from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

from projects.leaderboards import TRACKS, Report, SubmissionError, validate, write
from projects.leaderboards.tracks import option_names

_EPILOG = """\
tracks:
{tracks}

Each track takes the options that it needs and names the others as unknown.

examples:
  COCO: predict, write and check the file of the val split
    python tools/test.py configs/adder_fcos_r50.py ckpt.pth --out preds.pkl
    python tools/submit.py coco-det preds.pkl --out submissions --name adder-fcos-r50 \\
        --ann-file data/coco/annotations/instances_val2017.json

  VOC: check an archive that was made elsewhere
    python tools/submit.py voc-det --check comp4_det_test_alg.tar.gz \\
        --image-set data/VOCdevkit/VOC2012/ImageSets/Main/test.txt \\
        --image-dir data/VOCdevkit/VOC2012/JPEGImages

  Segmentation: predict into a folder, write and check
    python tools/test.py configs/deeplabv3_r50_cityscapes.py ckpt.pth --out labels/
    python tools/submit.py cityscapes-seg labels/ --out submissions --name deeplabv3 \\
        --image-dir data/cityscapes/leftImg8bit/val
    python tools/submit.py voc-seg labels/ --out submissions --name deeplabv3 \\
        --image-set data/VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt \\
        --image-dir data/VOCdevkit/VOC2012/JPEGImages

  ScanNet: predict the test scenes, write and check
    python tools/test.py CONFIG ckpt.pth --out preds.pkl
    python tools/submit.py scannet-instance preds.pkl --out submissions --name maskgroup \\
        --mesh-dir data/scannet/scans_test

  NTIRE: pack a folder of results, checking names and sizes against the inputs
    python tools/submit.py ntire-sr results --out submissions --name edsr-x4 \\
        --runtime 1.43 --device gpu --extra-data 0 --description 'EDSR, DIV2K only' \\
        --image-dir data/DIV2K/DIV2K_test_LR_bicubic/X4 --scale 4 --naming id

exit status: 0 written and accepted, 1 refused (the message lists every problem), 2 wrong usage
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    tracks = '\n'.join(f'  {name:<16} {track.title}' for name, track in TRACKS.items())
    parser = argparse.ArgumentParser(
        description='Write and check a submission archive, or check one (--check).',
        epilog=_EPILOG.format(tracks=tracks),
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('track', choices=TRACKS, metavar='TRACK', help=', '.join(TRACKS))
    parser.add_argument('predictions', nargs='?', metavar='PREDICTIONS',
                        help='written by tools/test.py --out; ntire-sr: or a folder of PNG files')
    parser.add_argument('--out', metavar='DIR', help='folder for the archive')
    parser.add_argument('--check', metavar='ARCHIVE', help='check this archive, write nothing')
    options = parser.add_argument_group('options of the tracks')
    options.add_argument('--name', metavar='ALG', help='name of the algorithm, without spaces')
    options.add_argument('--ann-file', metavar='JSON',
                         help='coco-det: image_info_test-dev2017.json or instances_val2017.json')
    options.add_argument('--classes', nargs='+', metavar='CLASS',
                         help="the model's classes, if not those of the data set")
    options.add_argument('--split', help='split in the file names; default: read from --ann-file '
                         'or --image-set')
    options.add_argument('--max-per-image', type=int, metavar='N',
                         help='coco-det: keep the N best of an image (100)')
    options.add_argument('--image-set', metavar='TXT', help='voc-det: ImageSets/Main/test.txt; '
                         'voc-seg: ImageSets/Segmentation/test.txt')
    options.add_argument('--image-dir', metavar='DIR',
                         help='voc-det: JPEGImages, to check that boxes lie in their images; '
                         'voc-seg: the same, to check sizes; cityscapes-seg: leftImg8bit/test, to '
                         'check names and sizes; ntire-sr: the inputs (with --scale), likewise')
    options.add_argument('--competition', help='voc-det: comp3 (VOC data only) or comp4 (default); '
                         'voc-seg: comp5 or comp6 (default)')
    options.add_argument('--year', help='voc-det, voc-seg: year in the folder name (2012)')
    options.add_argument('--ids', choices=('train', 'label'),
                         help='cityscapes-seg: what the numbers in the predictions are: train ids '
                         '(default; 0 to 18, converted) or label ids')
    options.add_argument('--mesh-dir', metavar='DIR',
                         help='scannet-instance, scannet-semantic: scans_test, to check the number of '
                         'vertices')
    options.add_argument('--scenes', metavar='TXT',
                         help='scannet-instance, scannet-semantic: names of the split, if not test '
                         '(meta_data/scannetv2_val.txt)')
    options.add_argument('--max-per-scene', type=int, metavar='N',
                         help='scannet-instance: keep the N best of a scene (100)')
    options.add_argument('--box-decimals', type=int, metavar='N', help='decimals of boxes (2)')
    options.add_argument('--score-decimals', type=int, metavar='N', help='decimals of scores (5; '
                         'scannet-instance: 4)')
    options.add_argument('--naming', choices=('keep', 'id'),
                         help="ntire-sr: results named as their inputs (default) or by the "
                         "inputs' number")
    options.add_argument('--scale', type=int, metavar='N',
                         help='ntire-sr: size of the results over that of --image-dir (1)')
    options.add_argument('--runtime', type=float, metavar='SECONDS', help='ntire-sr: per image')
    options.add_argument('--device', choices=('cpu', 'gpu'),
                         help='ntire-sr: where the runtime was measured')
    options.add_argument('--extra-data', type=int, choices=(0, 1),
                         help="ntire-sr: 1 if trained on more than the challenge's data")
    options.add_argument('--description', metavar='TEXT',
                         help='ntire-sr: one line on method, hardware, training data')
    return parser


def submit(track: str, predictions: str, out: str, options: dict[str, Any]) -> Report:
    """Write the archive, show what the writer warns of, and check what was written."""
    checks = option_names(TRACKS[track].validate)
    writes = option_names(TRACKS[track].write)
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter('always', UserWarning)
        path = write(track, TRACKS[track].read(predictions), out, **{
            name: value for name, value in options.items()
            if name in writes or name not in checks})
    for note in notes:
        print(f'warning  {note.message}')
    return validate(track, path, **{
        name: value for name, value in options.items() if name in checks})


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = build_parser()
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items()
             if value is not None}
    track, predictions = given.pop('track'), given.pop('predictions', None)
    out, check = given.pop('out', None), given.pop('check', None)
    if (check is None) == (predictions is None):
        parser.error('give either PREDICTIONS (with --out and --name) or --check ARCHIVE')
    if check is None and out is None:
        parser.error('--out DIR is needed to write an archive')
    try:
        if check is None:
            report = submit(track, predictions, out, given)
        else:
            report = validate(track, Path(check), **given)
    except SubmissionError as error:
        print(error, file=sys.stderr)
        return 1
    print(report)
    print(f'next     {TRACKS[track].next_step}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
