"""The tracks: one entry per benchmark server, each with a writer and a validator."""
from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import (
    cityscapes_seg,
    cityscapes_seg_check,
    coco_det,
    coco_det_check,
    label_maps,
    ntire_sr,
    ntire_sr_check,
    scannet_instance,
    scannet_instance_check,
    scannet_semantic,
    scannet_semantic_check,
    voc_det,
    voc_det_check,
    voc_seg,
    voc_seg_check,
)
from .report import Report, SubmissionError
from .results_file import load_results


@dataclass(frozen=True)
class Track:
    """A benchmark's submission.

    Attributes:
        title: What is submitted, for listings.
        write: ``(results, out, **options) -> Path``.
        validate: ``(path, **options) -> Report``.
        next_step: What a user does with the archive, and the state of the server.
        read: Path of the predictions -> the ``results`` that ``write`` takes.
        predictions: End of the name of predictions that are made for the track, behind that of the algorithm.
    """

    title: str
    write: Callable[..., Path]
    validate: Callable[..., Report]
    next_step: str
    read: Callable[[str | Path], Any] = load_results
    predictions: str = '_predictions.pkl'


TRACKS: dict[str, Track] = {
    'coco-det': Track(
        'COCO detection, test-dev2017 or val2017 (zip with one JSON)',
        coco_det.write, coco_det_check.validate,
        'there is nowhere to upload it at present: the COCO servers ran on CodaLab, which closed '
        'at the end of 2025. The number that others can reproduce is that of val2017 '
        '(tools/test.py); keep the archive and its SHA-256 for when a server is back.'),
    'voc-det': Track(
        'PASCAL VOC detection, comp3 or comp4 (tar.gz with one text file per class)',
        voc_det.write, voc_det_check.validate,
        'upload it at http://host.robots.ox.ac.uk:8080 (account needed; fill in every field, the '
        'method description has at least 500 characters). A failed evaluation may take days to '
        'be reported. The VOC2007 test set is public: evaluate it with tools/test.py.'),
    'voc-seg': Track(
        'PASCAL VOC segmentation, comp5 or comp6 (tar.gz with one palette PNG per image)',
        voc_seg.write, voc_seg_check.validate,
        'upload it at http://host.robots.ox.ac.uk:8080 (account needed; fill in every field, the '
        'method description has at least 500 characters). A failed evaluation may take days to '
        'be reported.',
        label_maps.read, '_labels'),
    'cityscapes-seg': Track(
        'Cityscapes pixel-level labelling (zip with one PNG of label ids per image)',
        cityscapes_seg.write, cityscapes_seg_check.validate,
        'upload it at https://www.cityscapes-dataset.com (account needed; one submission in 48 '
        'hours).',
        label_maps.read, '_labels'),
    'scannet-instance': Track(
        'ScanNet 3D semantic instances (zip with one list per scene and one mask per instance)',
        scannet_instance.write, scannet_instance_check.validate,
        'upload it at https://kaldir.vc.in.tum.de/scannet_benchmark/ (account needed; one submission '
        'in two weeks for each task, final systems only).'),
    'scannet-semantic': Track(
        'ScanNet 3D semantic labels (zip with one text file per scene)',
        scannet_semantic.write, scannet_semantic_check.validate,
        'upload it at https://kaldir.vc.in.tum.de/scannet_benchmark/ (account needed; one submission '
        'in two weeks for each task, final systems only).'),
    'ntire-sr': Track(
        'NTIRE and DIV2K super-resolution challenges (flat zip of PNG files and readme.txt)',
        ntire_sr.write, ntire_sr_check.validate,
        "upload it on the challenge's page. Running challenges are on Codabench; those of CodaLab "
        'closed with it at the end of 2025, so there the number that others can reproduce is '
        "that of DIV2K's validation set (tools/test.py). Look up which naming the phase asks for.",
        ntire_sr.read),
}


def write(track: str, results: str | Path | Iterable[Mapping], out: str | Path, **options: Any) -> Path:
    """Write a submission archive.

    Args:
        track: Name out of ``TRACKS``.
        results: Predictions, one dict per image; see :func:`load_results`. Tracks of images also
            take a folder.
        out: Folder for the archive, whose name the track gives.
        **options: The track's own; see the ``write`` function of its module.

    Returns:
        Path of the archive.

    Raises:
        SubmissionError: Unknown track or option, or predictions that cannot be submitted.
    """
    function = get_track(track).write
    check_options(track, function, options)
    return function(results, out, **options)


def validate(track: str, path: str | Path, **options: Any) -> Report:
    """Check an archive as the server would, whoever wrote it.

    Args:
        track: Name out of ``TRACKS``.
        path: The archive.
        **options: The track's own; see the ``validate`` function of its module.

    Raises:
        SubmissionError: Unknown track or option, or everything that is wrong with the archive.
    """
    function = get_track(track).validate
    check_options(track, function, options)
    return function(path, **options)


def get_track(track: str) -> Track:
    """The entry of ``TRACKS``, or an error that lists the known names."""
    if track not in TRACKS:
        raise SubmissionError(f'track {track!r}', [f'unknown; known tracks: {", ".join(TRACKS)}'])
    return TRACKS[track]


def option_names(function: Callable) -> list[str]:
    """The options that a writer or validator takes: its keyword-only parameters."""
    return [name for name, parameter in inspect.signature(function).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY]


def check_options(track: str, function: Callable, options: Mapping[str, Any]) -> None:
    """Raise :class:`SubmissionError` unless a track's writer or validator takes the options, and needs no others."""
    known = option_names(function)
    needed = [name for name in known
              if inspect.signature(function).parameters[name].default is inspect.Parameter.empty]
    problems = [f'{function.__name__} has no option {name}; its options: {", ".join(known)}'
                for name in options if name not in known]
    problems += [f'{function.__name__} needs the option {name}'
                 for name in needed if options.get(name) is None]
    if problems:
        raise SubmissionError(f'track {track}', problems)
