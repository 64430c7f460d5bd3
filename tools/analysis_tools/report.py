"""One HTML page about training and test runs: `python tools/analysis_tools/report.py WORK_DIR [...] --out report/`.

The page (OUT/index.html) compares the runs, draws those that share a metric into one chart, and shows for each run
its metrics, pictures of predictions (of `tools/test.py --show-dir`), costs, versions, seed, time, config and the
command that repeats it. Everything is embedded: it can be mailed, and opened on a phone without a network. Runs that
broke off are shown as such, with what is missing.

  python tools/analysis_tools/report.py work_dirs/mini_demo
  python tools/analysis_tools/report.py work_dirs/compare_bccd --out reports/bccd        every run below the folder
  python tools/analysis_tools/report.py work_dirs/a work_dirs/b --cost                   counts costs first
"""

import argparse
import os
import sys
from pathlib import Path

from tqdm import tqdm

sys.path.append(str(Path(__file__).resolve().parents[2]))
sys.path.append(str(Path(__file__).resolve().parent))

from plot_curves import join_runs, read_scalars

from projects.reports import build_page, find_runs, read_run
from projects.reports.costs import FILE, count_costs
from projects.reports.run_folder import Run
from projects.runtime.atomic import write_atomic
from projects.runtime.command_line import run_tool


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dirs', nargs='+', type=Path, metavar='WORK_DIR',
                        help='work dir of a run, or a folder that holds some')
    parser.add_argument('-o', '--out', type=Path, default=Path('work_dirs/report'),
                        help='folder for index.html (default: %(default)s)')
    parser.add_argument('--title', default='Report of runs', help='heading of the page (default: %(default)s)')
    parser.add_argument('--pictures', type=int, default=6, metavar='N', help='most pictures of a run (default: 6)')
    parser.add_argument('--cost', action='store_true',
                        help=f'count the costs of models whose work dir has no {FILE}, by get_cost.py, into that file')
    args = parser.parse_args(argv)
    if args.pictures < 0:
        parser.error(f'--pictures {args.pictures}: expected 0 or more')
    return args


def names(folders: list[Path]) -> list[str]:
    """Short distinct names of work dirs: their paths below the deepest folder that holds them all."""
    if len(folders) == 1:
        return [folders[0].resolve().name]
    whole = [str(folder.resolve()) for folder in folders]
    common = os.path.commonpath([os.path.dirname(path) for path in whole])
    return [os.path.relpath(path, common) for path in whole]


def add_cost(run: Run) -> str | None:
    """Count the costs of a run's model into its work dir; return what went wrong."""
    config = run.config_file()
    return count_costs(config, run.folder / FILE) if config else 'Costs need a config.'


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    folders = list(dict.fromkeys(folder for path in args.work_dirs for folder in find_runs(path)))
    runs = []
    for folder, name in zip(tqdm(folders, desc='runs', disable=len(folders) < 2), names(folders), strict=True):
        complaint = None
        if args.cost and not (folder / FILE).is_file():
            complaint = add_cost(Run(name, folder))
        run = read_run(folder, name, read_scalars, join_runs, args.pictures)
        run.problems += [complaint] if complaint else []
        runs.append(run)
    page = args.out / 'index.html'
    write_atomic(page, build_page(runs, args.title))
    broken = [run.name for run in runs if run.state in ('broken', 'unfinished')]
    print(f'{len(runs)} runs, {page.stat().st_size / 1e6:.1f} MB: {page}')
    if broken:
        print(f'Not complete: {", ".join(broken)}. The page says what is missing.')


if __name__ == '__main__':
    run_tool(main)
