"""Predictions of a model over its test set, by the suite's own ``tools/test.py`` in processes of its own.

They are kept beside the archive, so that a second archive, or one with other options, needs no second run.
"""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .report import SubmissionError

_RANKS = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')  # variables of the environment


@dataclass(frozen=True)
class ModelRun:
    """A model, its test set, and how to run them.

    Attributes:
        config: Config file.
        checkpoint: Checkpoint file, or 'none' for a model without weights.
        tools: Folder of ``test.py`` and ``dist_test.sh``.
        processes: Number of processes that are started here.
        launcher: What started several of this process itself ('pytorch', 'slurm', 'mpi'), or 'none'.
        arguments: Further arguments of ``tools/test.py``.
    """

    config: str
    checkpoint: str
    tools: Path
    processes: int = 1
    launcher: str = 'none'
    arguments: Sequence[str] = ()

    def command(self, out: Path) -> list[str]:
        """The command line that writes the predictions to ``out``."""
        arguments = ['--out', str(out), *self.arguments]
        if self.processes > 1:
            return ['bash', str(self.tools / 'dist_test.sh'), self.config, self.checkpoint, str(self.processes),
                    *arguments]
        return [sys.executable, str(self.tools / 'test.py'), self.config, self.checkpoint, '--launcher', self.launcher,
                *arguments]

    @property
    def is_first(self) -> bool:
        """Whether this is the only process, or the first of those that the launcher started."""
        return self.launcher == 'none' or os.environ.get(_RANKS[self.launcher], '0') == '0'

    def predict(self, target: Path) -> None:
        """Write the predictions: a file, or a folder if ``target`` does not end in .pkl.

        A folder of that name is replaced when the run is complete; an interrupted run leaves its images beside it.

        Raises:
            SubmissionError: The run failed; what it said is on the terminal.
        """
        is_file = target.suffix == '.pkl'
        # tools/test.py takes a name without a dot for that of a folder
        place = target if is_file else target.with_name(f'.{target.name.replace(".", "_")}_partial')
        place.parent.mkdir(parents=True, exist_ok=True)
        if not is_file and self.is_first:  # left by a run that failed, perhaps over another test set
            shutil.rmtree(place, ignore_errors=True)
        environment = {**os.environ, 'PYTHON': sys.executable}
        status = subprocess.run(self.command(place), env=environment, check=False).returncode
        if status:
            kept = f'; the label images so far are in {place}' if place.is_dir() else ''
            raise SubmissionError(f'{self.config} with {self.checkpoint}', [
                f'the test run ended with status {status}, its message stands above{kept}. Data without ground truth '
                'need --without-metrics'])
        if not is_file and self.is_first:
            shutil.rmtree(target, ignore_errors=True)
            os.replace(place, target)
