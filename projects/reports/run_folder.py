"""A work dir of mmengine's runner, read into one object: figures, pictures, costs, circumstances, and what is missing.

    WORK_DIR/                             CONFIG.py, checkpoints, last_checkpoint, cost.json
        TIME/                             one for each session of training or testing: TIME.log, TIME.json (of a test)
            vis_data/                     scalars.json, config.py, vis_image/
            FOLDER/                       pictures of `tools/test.py --show-dir FOLDER`
"""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from mmengine.config import Config

from projects.runtime.errors import DataError

from .costs import read_costs
from .log_files import duration, read_log
from .metrics import Metric, Record, is_metric, training_series, validation_metrics
from .run_pictures import Picture, choose_pictures

_SESSION = re.compile(r'\d{8}_\d{6}')
_TASKS = dict(mmdet='detection', mmseg='segmentation', mmdet3d='3D', mmengine='restoration')
_USUAL = r'bbox_mAP|mAP|mIoU|AP|PSNR'  # what comes first where the checkpoint hook names no metric
STATES = ('finished', 'tested', 'unfinished', 'broken')
Curves = tuple[list[Record], list[Record]]


@dataclass
class Run:
    """What a report shows of a work dir.

    Attributes:
        name: short name, distinct among the runs of a report.
        folder: the work dir.
        state: 'finished', 'unfinished', 'tested' (no training in this folder) or 'broken' (nothing to show).
        problems: sentences on what is missing or wrong.
        task, config_name, config_text: of the config that the newest session wrote.
        checkpoint: what it was started from, or ''.
        resumed: whether the newest session went on from a checkpoint of a run.
        unit: 'epoch' or 'iteration', what validation counts in.
        training, validation: series over iterations, and over `unit`s.
        tests: session to metrics, of `tools/test.py`.
        first_metrics: names of metrics that count first: that of the best checkpoint, then in recorded order.
        pictures: a choice of predictions.
        costs: name to value, of cost.json.
        facts: versions, seed, time, checkpoints.
    """

    name: str
    folder: Path
    state: str = 'broken'
    problems: list[str] = field(default_factory=list)
    task: str = ''
    config_name: str = ''
    config_text: str = ''
    checkpoint: str = ''
    resumed: bool = False
    unit: str = 'iteration'
    training: list[Metric] = field(default_factory=list)
    validation: list[Metric] = field(default_factory=list)
    tests: dict[str, dict[str, float]] = field(default_factory=dict)
    first_metrics: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    costs: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)

    def final(self, name: str) -> float | None:
        """The last value of a metric: of the newest test, else of the last validation."""
        for metrics in reversed(list(self.tests.values())):
            if name in metrics:
                return metrics[name]
        return next((metric.final for metric in self.validation if metric.name == name), None)

    def config_file(self) -> Path | None:
        """The config of the newest training, else of the newest session, else the one beside the checkpoints."""
        files = [*sorted(self.folder.glob('*/vis_data/config.py')), *self.folder.glob('vis_data/config.py')]
        files.sort(key=lambda file: file.with_name('scalars.json').is_file())
        return files[-1] if files else next(iter(sorted(self.folder.glob('*.py'))), None)


def _sessions(folder: Path) -> list[Path]:
    if _SESSION.fullmatch(folder.name) and (folder / 'vis_data').is_dir():
        return [folder]
    return sorted(path for path in folder.glob('*') if _SESSION.fullmatch(path.name) and path.is_dir())


def find_runs(path: Path) -> list[Path]:
    """The work dirs that `path` is or holds; `path` itself if there is none, so that the report can say so.

    Raises:
        DataError: no such folder.
    """
    if not path.is_dir():
        raise DataError(f'{path}: no such folder. Expected the --work-dir of a run, or a folder of such.')
    if _sessions(path):
        return [path]
    found = {session.parent for session in path.glob('**/*_*') if _SESSION.fullmatch(session.name)}
    return sorted(found) or [path]


def _read_config(run: Run) -> Config | None:
    file = run.config_file()
    if file is None:
        run.problems.append('No config: neither TIME/vis_data/config.py nor CONFIG.py.')
        return None
    run.config_text = file.read_text(encoding='utf-8', errors='replace')
    named = sorted(run.folder.glob('*.py'))
    run.config_name = named[0].stem if named else run.folder.name
    try:
        return Config.fromfile(str(file), import_custom_modules=False)
    except Exception as error:  # a config is a program: it may fail in any way, and the rest is still worth showing
        run.problems.append(f'{file.name} cannot be read as a config: {error}')
        return None


def _read_curves(run: Run, sessions: list[Path], read: Callable[[Path], Curves],
                 join: Callable[[list[Curves]], Curves]) -> Curves:
    """Records of all sessions, joined; lines that a kill cut off are counted as a problem."""
    parts, cut = [], 0
    for file in (session / 'vis_data' / 'scalars.json' for session in sessions):
        if not file.is_file():
            continue
        lines = file.read_text(encoding='utf-8', errors='replace').splitlines()
        cut += sum(1 for line in lines if line.strip() and not (line.startswith('{') and line.endswith('}')))
        parts.append(read(file))
    if cut:
        run.problems.append(f'{cut} line{"s" * (cut > 1)} of scalars.json broken or cut off, and left out.')
    return join(parts)


def _check_losses(run: Run, training: list[Record]) -> None:
    for record in training:
        bad = [name for name, value in record.items() if is_metric(name, value) and not math.isfinite(value)]
        if bad:
            run.problems.append(f'{", ".join(bad)} not finite from iteration {record["iter"]:,} on.')
            return


def _read_tests(run: Run, sessions: list[Path]) -> None:
    for session in sessions:
        file = session / f'{session.name}.json'
        if not file.is_file():
            continue
        try:
            content = json.loads(file.read_text(encoding='utf-8').splitlines()[-1])
            run.tests[session.name] = {name: value for name, value in content.items()
                                       if is_metric(name, value) and value != -1}
        except (ValueError, IndexError, AttributeError):
            run.problems.append(f'{session.name}/{file.name}: not the JSON line of a test.')


def _read_facts(run: Run, sessions: list[Path]) -> bool:
    """Fill in the facts, those of training above those of tests; return whether the last log says that it finished."""
    spans, finished = timedelta(), False
    for session in sorted(sessions, key=lambda session: (session / 'vis_data' / 'scalars.json').is_file()):
        log = session / f'{session.name}.log'
        if not log.is_file():
            run.problems.append(f'{session.name}: no log file.')
            continue
        facts, span, finished = read_log(log)
        run.facts.update(facts)
        spans += span
    if sessions:
        run.facts['sessions'] = str(len(sessions))
        run.facts['time in all'] = duration(spans)
    files = sorted(run.folder.glob('*.pth'), key=lambda path: path.stat().st_mtime)
    if files:
        run.facts['checkpoints'] = ', '.join(f'{path.name} ({path.stat().st_size / 1e6:,.1f} MB)' for path in files)
    return finished


def _saved(folder: Path) -> int:
    """The epoch or iteration of the last checkpoint, 0 for none."""
    name = folder / 'last_checkpoint'
    match = re.search(r'_(\d+)\.pth', name.read_text(errors='replace')) if name.is_file() else None
    return int(match[1]) if match else 0


def _count_evaluations(run: Run, cfg: Config | None, training: list[Record], validation: list[Record]) -> list[Record]:
    """Give evaluations their iterations where mmengine recorded none.

    Without `log_metric_by_epoch=False` in LoggerHook, the evaluations of an iteration-based run are all of epoch 0.
    """
    interval = ((cfg.get('train_cfg') if cfg else None) or {}).get('val_interval')
    steps = [record['step'] for record in validation]
    if run.unit == 'epoch' or not interval or not steps or (steps[0] > 0 and len(set(steps)) == len(steps)):
        return validation
    reached = max([_saved(run.folder), *(int(record['iter']) for record in training[-1:])]) // interval * interval
    return [dict(record, step=reached - interval * (len(steps) - 1 - index)) for index, record in enumerate(validation)]


def _progress(run: Run, cfg: Config | None, training: list[Record], finished: bool) -> None:
    """Set the state: from the log's last word, else from checkpoints and evaluations."""
    if not training and not run.validation:
        run.state = 'tested' if run.tests else 'broken'
        if not run.tests:
            run.problems.append('Neither training nor test figures: no losses in TIME/vis_data/scalars.json, no '
                                'TIME/TIME.json. Was it stopped before its first log line?')
        return
    settings = (cfg.get('train_cfg') if cfg else None) or {}
    length = settings.get('max_epochs') or settings.get('max_iters')
    done = max([_saved(run.folder), *(int(metric.steps[-1]) for metric in run.validation)])
    if finished or (length and done >= length):
        run.state = 'finished'
        return
    run.state = 'unfinished'
    iteration = f', the last line of the log is of iteration {training[-1]["iter"]:,}' if training else ''
    run.problems.append(f'Stopped, or still running: {done} of {length or "?"} {run.unit}s saved or evaluated'
                        f'{iteration}.')


def _first_metrics(run: Run, cfg: Config | None) -> list[str]:
    hook = ((cfg.get('default_hooks') if cfg else None) or {}).get('checkpoint') or {}
    names = [metric.name for metric in run.validation]
    names += [name for metrics in run.tests.values() for name in metrics if name not in names]
    wanted = hook.get('save_best')
    wanted = re.escape(wanted) if isinstance(wanted, str) and wanted != 'auto' else _USUAL
    first = [name for name in names if re.search(rf'(^|/)({wanted})$', name)][:1]
    return first + [name for name in names if name not in first]


def read_run(folder: Path, name: str, read: Callable[[Path], Curves], join: Callable[[list[Curves]], Curves],
             pictures: int = 6) -> Run:
    """Read a work dir; what is missing or broken becomes a sentence in `problems`, never an exception.

    Args:
        folder: the work dir.
        name: what to call the run.
        read: training and validation records of a scalars.json.
        join: the same of several sessions, resumed parts in place of what they replace.
        pictures: most pictures to choose.
    """
    run, sessions = Run(name, folder), _sessions(folder)
    if not sessions:
        run.problems.append('No TIME/ folder of a run in it.')
    cfg = _read_config(run)
    if cfg is not None:
        run.checkpoint, run.resumed = str(cfg.get('load_from') or ''), bool(cfg.get('resume'))
        run.task = _TASKS.get(cfg.get('default_scope'), '')
        if (cfg.get('train_cfg') or {}).get('by_epoch', 'max_epochs' in (cfg.get('train_cfg') or {})):
            run.unit = 'epoch'
    training, validation = _read_curves(run, sessions, read, join)
    _check_losses(run, training)
    validation = _count_evaluations(run, cfg, training, validation)
    run.training, run.validation = training_series(training), validation_metrics(validation)
    _read_tests(run, sessions)
    finished = _read_facts(run, sessions)
    _progress(run, cfg, training, finished)
    run.first_metrics = _first_metrics(run, cfg)
    if training and not run.validation and not run.tests:
        run.problems.append('No evaluation was recorded.')
    clocks = sorted(record['time'] for record in training if 'time' in record)
    if clocks:
        run.facts['seconds an iteration (median)'] = f'{clocks[len(clocks) // 2]:.3f}'
    run.costs, cost_problem = read_costs(folder)
    run.problems += cost_problem
    run.pictures, broken = choose_pictures(folder, sessions, pictures)
    run.problems += [f'{path}: no readable picture.' for path in broken]
    return run
