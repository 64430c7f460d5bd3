"""`TaskonomyDataset`: aligned images of a scene in several domains, from a split list with `{domain}` in its lines."""

from __future__ import annotations

import os
from collections.abc import Sequence

from mmengine.dataset import BaseDataset
from mmengine.fileio import join_path, list_from_file
from mmengine.registry import DATASETS

from projects.runtime.errors import DataError

from .domains import check_domain

PLACEHOLDER = '{domain}'


@DATASETS.register_module()
class TaskonomyDataset(BaseDataset):
    """Scenes of Taskonomy (arXiv 1804.08328), in the layout of its sample model.

    A line of the list is a path below ``data_root`` in which the literal ``{domain}`` stands for the domain, such as
    ``{domain}/point_407_view_2_domain_{domain}.png``.

    Args:
        ann_file: The list.
        inputs: Domains of the inputs; a model may use a part of them.
        target: Domain of the image to be made; None for inputs alone, to be translated.
        data_root: Folder of the domains' folders.
        pipeline: Transforms; begins with ``LoadTaskonomyImages``.
        backend_args: Of mmengine's storage backend. Remote files are not looked for beforehand.
        kwargs: As for mmengine's ``BaseDataset`` (``test_mode``, ``indices``...).

    Raises:
        DataError: an unknown domain, the target among the inputs; while loading: the list is missing or empty, a line
            lacks the placeholder, or files are missing.
    """

    METAINFO = dict(dataset_type='taskonomy', task_name='image translation')

    def __init__(self, ann_file: str, inputs: Sequence[str], target: str | None, data_root: str = '',
                 pipeline: Sequence = (), backend_args: dict | None = None, **kwargs) -> None:
        self.inputs, self.target, self.backend_args = tuple(inputs), target, backend_args
        for name in self.inputs:
            check_domain(name, 'dataset.inputs')
        if target is not None:
            check_domain(target, 'dataset.target')
        if target in self.inputs or not self.inputs or len(set(self.inputs)) < len(self.inputs):
            raise DataError(f'dataset.inputs={list(inputs)}, dataset.target={target!r}: expected one or more different '
                            'inputs, and a target that is none of them')
        super().__init__(ann_file=ann_file, data_root=data_root, pipeline=list(pipeline), **kwargs)

    def load_data_list(self) -> list[dict]:
        """For each scene ``key`` (the line), ``target`` and ``paths``, one for each domain."""
        scenes = [dict(key=line, target=self.target, paths={
            domain: join_path(self.data_root, line.replace(PLACEHOLDER, domain), backend_args=self.backend_args)
            for domain in self.domains}) for line in self._lines()]
        if self.backend_args is None:
            self._require(scenes)
        return scenes

    @property
    def domains(self) -> tuple[str, ...]:
        """Inputs, then the target."""
        return self.inputs if self.target is None else (*self.inputs, self.target)

    def _lines(self) -> list[str]:
        try:
            lines = list_from_file(self.ann_file, backend_args=self.backend_args)
        except OSError as error:
            raise DataError(f'{self.ann_file}: no such list of scenes (ann_file).') from error
        lines = [line.strip() for line in lines if line.strip()]
        if not lines:
            raise DataError(f'{self.ann_file}: lists no scenes.')
        if wrong := [line for line in lines if PLACEHOLDER not in line]:
            raise DataError(f'{self.ann_file}: the line {wrong[0]!r} has no {PLACEHOLDER}; expected a path such as '
                            f'{PLACEHOLDER}/point_1_view_2_domain_{PLACEHOLDER}.png')
        return lines

    def _require(self, scenes: list[dict]) -> None:
        problems = []
        for domain in self.domains:
            missing = [scene['paths'][domain] for scene in scenes if not os.path.exists(scene['paths'][domain])]
            if missing:
                problems.append(f'- {domain}: {len(missing)} of {len(scenes)}, the first is {missing[0]}')
        if problems:
            raise DataError(f'{self.ann_file}: images are missing below {self.data_root}:\n' + '\n'.join(problems)
                            + '\nComplete the folders, or shorten the list; data/README.md describes the layout.')
