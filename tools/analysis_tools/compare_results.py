"""Tabulates the metrics of several runs or checkpoints side by side, in markdown and JSON.

Each entry is a work dir of tools/train.py or tools/test.py, whose log holds the metrics, or CONFIG:CHECKPOINT, which is
tested by tools/test.py unless the same pair was tested before. `NAME=` in front of an entry names its row.
"""

import argparse
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))
sys.path.append(str(Path(__file__).resolve().parent))

from plot_curves import join_runs, metric_names, read_scalars

from projects.runtime.atomic import write_atomic
from projects.runtime.checkpoint_files import check_checkpoint
from projects.runtime.command_line import run_tool
from projects.runtime.errors import ConfigError, DataError, UserError

TEST = Path(__file__).resolve().parents[1] / 'test.py'
RECORD = 'compare_results.json'
EPILOG = """
Two trainings, their last evaluations:

  python tools/analysis_tools/compare_results.py work_dirs/fcos_r50 work_dirs/dyfpn_fcos_r50

Their best ones by a metric, and a checkpoint that is tested for it:

  python tools/analysis_tools/compare_results.py work_dirs/fcos_r50 work_dirs/dyfpn_fcos_r50 \\
      "half width=configs/fcos_r50.py:half.pth" --best coco/bbox_mAP --metrics coco/bbox_mAP coco/bbox_mAP_s
"""


@dataclass
class Entry:
    """A row to be: a work dir, or a config with a checkpoint."""

    name: str
    folder: Path | None = None
    config: str = ''
    checkpoint: str = ''

    @classmethod
    def parse(cls, text: str) -> 'Entry':
        """`[NAME=]WORK_DIR` or `[NAME=]CONFIG:CHECKPOINT`.

        Raises:
            ConfigError: neither a folder nor a config with a checkpoint.
        """
        given, _, place = text.rpartition('=')
        pair = re.match(r'(?P<config>.+\.py):(?P<checkpoint>.+)$', place)
        if pair is None:
            if not Path(place).is_dir():
                raise ConfigError(f'{text!r}: no such folder. Expected a work dir, or CONFIG.py:CHECKPOINT, either '
                                  'with NAME= in front')
            return cls(given or Path(place).resolve().name, Path(place))
        if not Path(pair['config']).is_file():
            raise ConfigError(f'{text!r}: there is no config file {pair["config"]}')
        if pair['checkpoint'] != 'none':
            check_checkpoint(pair['checkpoint'])
        stems = [Path(pair[key]).stem for key in ('config', 'checkpoint')]
        return cls(given or ' '.join(stems), None, pair['config'], pair['checkpoint'])


def logged_metrics(folder: Path, best: str | None) -> tuple[dict[str, float], str]:
    """Metrics that a work dir's logs hold, and where they come from.

    A training's last evaluation counts, or with `best` the one where that metric is highest; of a folder with tests
    alone the newest test.

    Raises:
        DataError: there are none.
    """
    files = sorted(folder.glob('*/vis_data/scalars.json'))
    training, validation = join_runs([read_scalars(file) for file in files])
    if validation:
        rated = [record for record in validation if best in record]
        if best and not rated:
            raise DataError(f'--best {best}: {folder} has no evaluation with it. There are: '
                            f'{", ".join(metric_names(validation))}')
        record = max(rated, key=lambda item: item[best]) if rated else validation[-1]
        names = metric_names(validation)
        return {name: record[name] for name in names if name in record}, f'step {record["step"]:g}'
    tests = sorted(path for path in folder.glob('*/*.json') if path.stem == path.parent.name)
    for path in reversed(tests):
        content = json.loads(path.read_text(encoding='utf-8'))
        found = {key: value for key, value in content.items()
                 if isinstance(value, (int, float)) and key not in ('time', 'data_time')}
        if found:
            return found, f'test {path.stem}'
    reason = 'its trainings were not evaluated yet' if training else 'no TIME/vis_data/scalars.json or TIME/TIME.json'
    raise DataError(f'{folder}: no metrics: {reason}. Expected the work dir of a training with an evaluation, or of '
                    'tools/test.py; or name the checkpoint: CONFIG:CHECKPOINT')


def tested_metrics(entry: Entry, out: Path, extra: list[str]) -> tuple[dict[str, float], str]:
    """Metrics of a checkpoint; tested now if it was not before with these very files and options.

    Raises:
        UserError: the test failed.
    """
    folder = out / 'tests' / re.sub(r'\W+', '_', entry.name)
    record = folder / RECORD
    settings = dict(config=entry.config, checkpoint=entry.checkpoint, options=extra,
                    written=[Path(path).stat().st_mtime_ns for path in (entry.config, entry.checkpoint)
                             if Path(path).is_file()])
    if record.is_file():
        content = json.loads(record.read_text(encoding='utf-8'))
        if content['settings'] == settings:
            return content['metrics'], 'tested before'
    print(f'{entry.name}: testing {entry.checkpoint} (log: {folder}/test.log)', flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / 'test.log'
    command = [sys.executable, str(TEST), entry.config, entry.checkpoint, '--work-dir', str(folder),
               *(['--cfg-options', *extra] if extra else [])]
    with open(log, 'w', encoding='utf-8') as output:
        code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
    if code:
        tail = '\n'.join(log.read_text(encoding='utf-8', errors='replace').strip().splitlines()[-8:])
        raise UserError(f'{entry.name}: tools/test.py ended with status {code}. End of {log}:\n{tail}')
    metrics, _ = logged_metrics(folder, None)
    write_atomic(record, json.dumps(dict(settings=settings, metrics=metrics), indent=1))
    return metrics, 'tested now'


def columns(rows: list[dict], wanted: list[str] | None) -> list[str]:
    """The metrics to show: those wanted, else all that any row has, in the order they appear.

    Raises:
        ConfigError: a wanted metric that no row has.
    """
    known = list(dict.fromkeys(name for row in rows for name in row['metrics']))
    if missing := [name for name in wanted or () if name not in known]:
        raise ConfigError(f'--metrics {missing[0]}: no entry has it. There are: {", ".join(known)}')
    return wanted or known


def markdown(rows: list[dict], metrics: list[str]) -> str:
    """The table; '-' where an entry lacks a metric."""
    lines = [f'| name | {" | ".join(metrics)} | from |', '| --- ' * (len(metrics) + 2) + '|']
    for row in rows:
        cells = [f'{row["metrics"][name]:.4g}' if name in row['metrics'] else '-' for name in metrics]
        lines.append(f'| {row["name"]} | {" | ".join(cells)} | {row["source"]} |')
    return '\n'.join(lines) + '\n'


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('entries', nargs='+', metavar='ENTRY', help='[NAME=]WORK_DIR or [NAME=]CONFIG:CHECKPOINT')
    parser.add_argument('--metrics', nargs='+', metavar='KEY', help='columns (default: all that were recorded)')
    parser.add_argument('--best', metavar='KEY', help='of trainings take the evaluation where this metric is highest '
                        '(default: the last one)')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/compare_results'),
                        help='folder for table.md, table.json and the tests (default: %(default)s)')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE',
                        help='for the tests, as of tools/test.py')
    return parser.parse_args(argv)


def main(argv=None) -> None:
    args = parse_args(argv)
    entries = [Entry.parse(text) for text in args.entries]
    names = [entry.name for entry in entries]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f'two entries are called {twice[0]!r}. Give them names: NAME=ENTRY')
    rows = []
    for entry in entries:
        metrics, source = (logged_metrics(entry.folder, args.best) if entry.folder
                           else tested_metrics(entry, args.out, args.cfg_options))
        rows.append(dict(name=entry.name, metrics=metrics, source=source, work_dir=str(entry.folder or ''),
                         config=entry.config, checkpoint=entry.checkpoint))
    text = markdown(rows, columns(rows, args.metrics))
    write_atomic(args.out / 'table.json', json.dumps(rows, indent=1))
    write_atomic(args.out / 'table.md', text)
    print(f'\n{text}\nWritten to {args.out}/table.md and table.json')


if __name__ == '__main__':
    run_tool(main)
