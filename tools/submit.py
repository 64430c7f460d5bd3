"""Turn predictions into a benchmark's submission archive, make the predictions before, or check an archive.

    python tools/submit.py TRACK --config CONFIG --checkpoint CKPT --out DIR --name ALG [--nproc N] [options]
    python tools/submit.py TRACK PREDICTIONS --out DIR --name ALG [--config CONFIG] [options]
    python tools/submit.py TRACK --check ARCHIVE [--config CONFIG] [options]

The first form runs the model over the config's test set (tools/test.py, in N processes), keeps the predictions in DIR,
and writes and checks the archive. PREDICTIONS is what it kept, or what ``tools/test.py CONFIG CHECKPOINT --out
PREDICTIONS`` writes: a file .pkl, for segmentation a folder of label images; ntire-sr takes a folder of PNG files, too.
What the config knows of its test set is taken from it: annotation file, image set, folder of images, classes, scale.
"""
from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

from projects.leaderboards import TRACKS, Report, SubmissionError, validate, write
from projects.leaderboards.archives import checked_name
from projects.leaderboards.config_options import config_options
from projects.leaderboards.model_run import ModelRun
from projects.leaderboards.tracks import check_options, option_names

_EPILOG = """\
tracks:
{tracks}

Each track takes the options that it needs and names the others as unknown.

examples:
  COCO: run the model in two processes, write and check the file of the val split; options come from the config
    python tools/submit.py coco-det --config configs/adder_fcos_r50.py --checkpoint ckpt.pth --nproc 2 \\
        --out submissions --name adder-fcos-r50

  the same for test-dev, which has no ground truth
    python tools/submit.py coco-det --config configs/adder_fcos_r50.py --checkpoint ckpt.pth --without-metrics \\
        --cfg-options test_dataloader.dataset.ann_file=annotations/image_info_test-dev2017.json \\
        test_dataloader.dataset.data_prefix.img=test2017/ --out submissions --name adder-fcos-r50

  again from the predictions that were kept, with other options
    python tools/submit.py coco-det submissions/adder-fcos-r50_predictions.pkl --config configs/adder_fcos_r50.py \\
        --box-decimals 1 --out submissions --name adder-fcos-r50-short

  without a config: every option is given
    python tools/test.py configs/adder_fcos_r50.py ckpt.pth --out preds.pkl
    python tools/submit.py coco-det preds.pkl --out submissions --name adder-fcos-r50 \\
        --ann-file data/coco/annotations/instances_val2017.json

  VOC: check an archive that was made elsewhere
    python tools/submit.py voc-det --check comp4_det_test_alg.tar.gz \\
        --image-set data/VOCdevkit/VOC2012/ImageSets/Main/test.txt \\
        --image-dir data/VOCdevkit/VOC2012/JPEGImages

  Segmentation, test sets: the configs name the validation sets
    python tools/submit.py cityscapes-seg --config configs/deeplabv3_r50_cityscapes.py --checkpoint ckpt.pth \\
        --without-metrics --cfg-options test_dataloader.dataset.data_prefix.img_path=leftImg8bit/test \\
        --out submissions --name deeplabv3
    python tools/submit.py voc-seg --config configs/deeplabv3_r50_voc2012_aug.py --checkpoint ckpt.pth \\
        --without-metrics --cfg-options test_dataloader.dataset.ann_file=ImageSets/Segmentation/test.txt \\
        --out submissions --name deeplabv3

  ScanNet: both tasks from one run
    python tools/submit.py scannet-instance --config CONFIG --checkpoint ckpt.pth --out submissions --name maskgroup
    python tools/submit.py scannet-semantic submissions/maskgroup_predictions.pkl --config CONFIG \\
        --out submissions --name maskgroup-semantic

  NTIRE: pack a folder of results, checking names and sizes against the inputs
    python tools/submit.py ntire-sr results --out submissions --name edsr-x4 \\
        --runtime 1.43 --device gpu --extra-data 0 --description 'EDSR, DIV2K only' \\
        --image-dir data/DIV2K/DIV2K_test_LR_bicubic/X4 --scale 4 --naming id

  under a launcher: each process runs its share, the first one writes the archive
    srun ... python tools/submit.py TRACK --launcher slurm --config CONFIG --checkpoint ckpt.pth ...

exit status: 0 written and accepted, 1 refused or failed (the message lists every problem), 2 wrong usage
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    tracks = '\n'.join(f'  {name:<16} {track.title}' for name, track in TRACKS.items())
    parser = argparse.ArgumentParser(
        description=__doc__, usage='%(prog)s TRACK [PREDICTIONS] [options]',
        epilog=_EPILOG.format(tracks=tracks),
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('track', choices=TRACKS, metavar='TRACK', help=', '.join(TRACKS))
    parser.add_argument('predictions', nargs='?', metavar='PREDICTIONS',
                        help='written by tools/test.py --out; ntire-sr: or a folder of PNG files')
    parser.add_argument('--out', metavar='DIR', help='folder for the archive')
    parser.add_argument('--check', metavar='ARCHIVE', help='check this archive, write nothing')
    run = parser.add_argument_group('running the model')
    run.add_argument('--config', help='config of the model; options that its test set knows need not be given')
    run.add_argument('--checkpoint', help='its weights, or "none" for a model without: run it over the test set')
    run.add_argument('--nproc', type=int, default=1, metavar='N', help='processes to start (1); one for each GPU')
    run.add_argument('--launcher', choices=('none', 'pytorch', 'slurm', 'mpi'), default='none',
                     help='what started several of this process (none)')
    run.add_argument('--without-metrics', action='store_true',
                     help='the test set has no ground truth: load no annotations, compute no metrics')
    run.add_argument('--work-dir', help='folder for the log of the run, as in tools/test.py')
    run.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE',
                     help='settings of the config to change, as in tools/test.py')
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


def read_config(track: str, path: str, changes: list[str]) -> dict[str, Any]:
    """What a config says of the track's options.

    Raises:
        SubmissionError: The config cannot be read, or has not exactly one test set.
    """
    from mmengine.config import DictAction

    from projects.runtime.config_files import load_config
    from projects.runtime.data_options import apply_data_options
    from projects.runtime.dataset_configs import split_datasets
    from projects.runtime.errors import UserError
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    options = parser.parse_args(['--cfg-options', *changes] if changes else []).cfg_options
    try:
        cfg = load_config(path, options)
        apply_data_options(cfg, options)
    except UserError as error:
        raise SubmissionError(f'config {path}', [str(error)]) from error
    datasets = split_datasets(cfg, ('test',))
    if len(datasets) != 1:
        found = ', '.join(entry.key for entry in datasets) or 'none'
        raise SubmissionError(f'config {path}', [
            f'a submission is made of one test set, found {len(datasets)} ({found}); write a config whose '
            'test_dataloader has the one of the benchmark'])
    return config_options(track, datasets[0].cfg)


def run_model(track: str, job: ModelRun, out: str, options: dict[str, Any]) -> Path:
    """Run the model; where its predictions are."""
    writes = option_names(TRACKS[track].write)
    check_options(track, TRACKS[track].write, {
        name: value for name, value in options.items()
        if name in writes or name not in option_names(TRACKS[track].validate)})
    target = Path(out) / f'{checked_name(options["name"], "name")}{TRACKS[track].predictions}'
    job.predict(target)
    return target


def model_run(args: argparse.Namespace) -> ModelRun:
    """The run that the arguments ask for."""
    arguments = [*(['--work-dir', args.work_dir] if args.work_dir else []),
                 *(['--without-metrics'] if args.without_metrics else []),
                 *(['--cfg-options', *args.cfg_options] if args.cfg_options else [])]
    return ModelRun(args.config, args.checkpoint, Path(__file__).resolve().parent, args.nproc, args.launcher, arguments)


def check_usage(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with the usage if the arguments do not belong together."""
    sources = [args.check, args.predictions, args.checkpoint]
    if sum(source is not None for source in sources) != 1:
        parser.error('give one of: PREDICTIONS (with --out and --name), --config and --checkpoint (likewise), or '
                     '--check ARCHIVE')
    if args.check is None and args.out is None:
        parser.error('--out DIR is needed to write an archive')
    if args.checkpoint is not None and args.config is None:
        parser.error('--checkpoint needs the --config of its model')
    if args.checkpoint is None and (args.nproc != 1 or args.launcher != 'none' or args.without_metrics):
        parser.error('--nproc, --launcher and --without-metrics are for running a model: give its --checkpoint')
    if args.nproc < 1 or (args.nproc > 1 and args.launcher != 'none'):
        parser.error('--nproc starts processes here, --launcher says that they were started: give one of them, N >= 1')


_NO_OPTIONS = ('track', 'predictions', 'out', 'check', 'config', 'checkpoint', 'nproc', 'launcher', 'without_metrics',
               'work_dir', 'cfg_options')


def run(args: argparse.Namespace) -> Report | None:
    """Do what the arguments ask for; the report, None in all processes but the first."""
    track = args.track
    options = {name: value for name, value in vars(args).items() if value is not None and name not in _NO_OPTIONS}
    if args.config is not None:
        known = read_config(track, args.config, args.cfg_options)
        for name in sorted(known.keys() - options.keys()) if model_run(args).is_first else ():
            print(f'config   {name} = {_short(known[name])}', flush=True)
        options = {**known, **options}
    if args.check is not None:
        checks = option_names(TRACKS[track].validate)
        return validate(track, Path(args.check), **{
            name: value for name, value in options.items() if name in checks or args.config is None})
    predictions = args.predictions
    if args.checkpoint is not None:
        job = model_run(args)
        predictions = run_model(track, job, args.out, options)
        if not job.is_first:
            return None
        print(f'kept     {predictions} (PREDICTIONS of another call)', flush=True)
    return submit(track, predictions, args.out, options)


def _short(value: Any) -> str:
    text = ' '.join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 80 else f'{text[:77]}...'


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = build_parser()
    args = parser.parse_args(arguments)
    check_usage(parser, args)
    try:
        report = run(args)
    except SubmissionError as error:
        print(error, file=sys.stderr)
        return 1
    if report is not None:
        print(report)
        print(f'next     {TRACKS[args.track].next_step}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
