"""What both ScanNet tracks share: classes, scenes, vertex counts, and files of one number a vertex.

Predictions carry indices of classes; the benchmark wants NYU40 ids, which have gaps. Sources: this folder's README.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .archive_members import Member
from .ply_headers import vertex_count
from .report import Fault, Problems, SubmissionError

CLASS_IDS = dict(
    wall=1, floor=2, cabinet=3, bed=4, chair=5, sofa=6, table=7, door=8, window=9, bookshelf=10, picture=11, counter=12,
    desk=14, curtain=16, refrigerator=24, showercurtrain=28, toilet=33, sink=34, bathtub=36, otherfurniture=39)
"""NYU40 id of each class, in the order of mmdet3d's ScanNet classes (and in its spelling)."""
_OTHER_NAMES = {'shower curtain': 28, 'showercurtain': 28, 'garbagebin': 39, 'refridgerator': 24}
STUFF_IDS = (1, 2)
INSTANCE_IDS = tuple(number for number in CLASS_IDS.values() if number not in STUFF_IDS)
TEST_SCENES = tuple(f'scene{number:04d}_00' for number in range(707, 807))
MESH_SUFFIX = '_vh_clean_2.ply'
LARGE_ARCHIVE = 5 << 30  # bytes unpacked; at about 12 GB the server gave up
_CHUNK = 1 << 20
_ONE_INTEGER = 'expected one integer a line'
_LINES = re.compile(rb'(?:[ \t]*[+-]?\d{1,10}[ \t]*\r?\n)*')
_SCENE = re.compile(r'scene\d{4}_\d{2}')
_BELOW = re.compile(r'.+/scene\d{4}_\d{2}\.txt')


def class_ids(classes: Sequence[str] | None) -> np.ndarray:
    """NYU40 id of each label of the model, (classes,).

    Args:
        classes: The model's classes; by default the 20 of ScanNet's semantic task.

    Raises:
        SubmissionError: A name that is none of ScanNet's.
    """
    known = {**CLASS_IDS, **_OTHER_NAMES}
    names = list(CLASS_IDS) if classes is None else list(classes)
    strangers = [name for name in names if name not in known]
    if strangers:
        raise SubmissionError('option classes', [f'{", ".join(strangers)} are no classes of ScanNet; expected names '
                                                 f'out of {", ".join(CLASS_IDS)}'])
    return np.array([known[name] for name in names])


def scene_names(scenes: str | Path | None) -> tuple[str, ...]:
    """The scenes of a split.

    Args:
        scenes: A file with one name a line, as ``meta_data/scannetv2_val.txt``; by default the 100 test scenes.

    Raises:
        SubmissionError: No such file, nothing in it, or something else than names of scenes.
    """
    if scenes is None:
        return TEST_SCENES
    path = Path(scenes)
    if not path.is_file():
        raise SubmissionError(path, ['no such file; expected one with a name of a scene a line (option scenes)'])
    names = path.read_text(errors='replace').split()
    strangers = [name for name in names if not _SCENE.fullmatch(name)]
    if strangers or not names:
        found = repr(strangers[0][:40]) if strangers else 'an empty file'
        raise SubmissionError(path, [f'expected a name like scene0707_00 a line (option scenes), found {found}'])
    return tuple(dict.fromkeys(names))


def vertex_counts(mesh_dir: str | Path | None, scenes: Sequence[str]) -> dict[str, int]:
    """Number of vertices of each scene, from the headers of the meshes; empty without a folder.

    Args:
        mesh_dir: Folder with ``SCENE/SCENE_vh_clean_2.ply`` (``scans_test``) or ``SCENE_vh_clean_2.ply``.
        scenes: Names of the scenes.

    Raises:
        SubmissionError: Meshes that are missing or cannot be read.
    """
    if mesh_dir is None:
        return {}
    folder, counts, missing = Path(mesh_dir), {}, []
    for name in scenes:
        places = (folder / name / f'{name}{MESH_SUFFIX}', folder / f'{name}{MESH_SUFFIX}')
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            missing.append(name)
        else:
            counts[name] = vertex_count(path)
    if missing:
        raise SubmissionError(folder, [
            f'no mesh of {len(missing)} of the {len(scenes)} scenes, the first is {missing[0]}; expected '
            f'SCENE/SCENE{MESH_SUFFIX} in it (option mesh_dir), or pass the list of the split (option scenes)'])
    return counts


def by_scene(results: Iterable[Mapping], keys: Sequence[str], scenes: Sequence[str],
             problems: Problems) -> dict[str, Mapping]:
    """The predictions of each scene, in the order of their names.

    Args:
        results: Dicts with ``lidar_path``, whose stem is the scene's name, and ``pred_pts_seg``.
        keys: What ``pred_pts_seg`` must hold.
        scenes: The scenes of the split; what is missing or foreign is noted.
        problems: Receives what is wrong.
    """
    found: dict[str, Mapping] = {}
    for position, result in enumerate(results):
        part = result.get('pred_pts_seg') if isinstance(result, Mapping) else None
        if not isinstance(part, Mapping) or any(key not in part for key in keys) or not result.get('lidar_path'):
            problems.add(f'each result must be a dict with lidar_path and pred_pts_seg, which holds {", ".join(keys)} '
                         '(is this the dump of a segmentation model of point clouds?)', f'result {position}')
            continue
        name = Path(str(result['lidar_path'])).stem
        if name in found:
            problems.add('a scene appears more than once', name)
        found[name] = part
    check_scenes(found, scenes, 'predictions', problems)
    return dict(sorted(found.items()))


def check_scenes(found: Iterable[str], scenes: Sequence[str], what: str, problems: Problems) -> None:
    """Note scenes that are not of the split, and those of it that are missing."""
    found, known = set(found), set(scenes)
    for name in sorted(found - known):
        problems.add('not a scene of the split; for another one than test pass its list (option scenes)', name)
    for name in [name for name in scenes if name not in found]:
        problems.add(f'expected {what} for each of the {len(scenes)} scenes (another split: option scenes); missing',
                     name)


def lines_of(numbers: np.ndarray) -> Iterator[bytes]:
    """One number below 100 a line, as text, in pieces; ``numbers`` is (N,)."""
    for start in range(0, len(numbers), _CHUNK):
        part = np.asarray(numbers[start:start + _CHUNK], dtype=np.uint8)
        text = np.full((len(part), 3), ord('\n'), dtype=np.uint8)
        text[:, 0], text[:, 1] = part // 10 + 48, part % 10 + 48
        written = np.ones(text.shape, dtype=bool)
        written[:, 0] = part >= 10
        yield text[written].tobytes()


def read_numbers(stream: BinaryIO) -> Iterator[np.ndarray]:
    """The numbers of a file that has one integer a line, in pieces: a few megabytes are in memory, whatever its size.

    Raises:
        Fault: Something else is in it.
    """
    rest = b''
    while block := stream.read(_CHUNK):
        data = rest + block
        end = data.rfind(b'\n') + 1
        data, rest = data[:end], data[end:]
        if len(rest) > 64:
            raise Fault(_ONE_INTEGER, f'found a line that begins with {rest[:20]!r}')
        yield _parse(data)
    if rest:  # the last line may lack its end
        yield _parse(rest + b'\n')


def _parse(data: bytes) -> np.ndarray:
    codes = np.frombuffer(data, dtype=np.uint8)
    if len(codes) % 2 == 0 and (codes[1::2] == ord('\n')).all():  # one digit a line: by far the most frequent
        digits = codes[::2] - np.uint8(48)
        if (digits < 10).all():
            return digits
    valid = _LINES.match(data).end()
    if valid < len(data):
        line = data[valid:valid + 40].split(b'\n')[0]
        raise Fault(_ONE_INTEGER, f'found {line!r}')
    return np.array(data.split()).astype(np.int64)


def check_root(members: Iterable[Member], problems: Problems) -> None:
    """Note that everything lies below a top folder.

    Raises:
        SubmissionError: It does: all that follows from it would only hide it.
    """
    names = [member.name for member in members]
    below = [name for name in names if _BELOW.fullmatch(name)]
    if below and all('/' in name for name in names):
        problems.add('the files must lie at the root of the zip, without a top folder ("No text files found in results '
                     'archive"): pack it from inside of the folder, zip -r ../NAME.zip .', below[0])
        problems.raise_if_any()


def size_warnings(members: Iterable[Member]) -> list[str]:
    """A warning if the archive unpacks to more than the server may take."""
    total: Any = sum(member.size for member in members)
    if total <= LARGE_ARCHIVE:
        return []
    return [f'unpacked it has {total / 1e9:.1f} GB; at about 12 GB the server gave up ("Extraction timed out"): keep '
            'fewer instances of low score']
