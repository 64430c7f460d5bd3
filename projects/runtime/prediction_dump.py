"""Keeping a test run's predictions in a file (`tools/test.py --out`)."""

import pickle

from mmengine.evaluator import DumpResults
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from .atomic import atomic_file
from .errors import ConfigError

_SUFFIXES = ('.pkl', '.pickle')


def check_out(out: str, scope: str) -> None:
    """Raise `ConfigError` if `out` is not a pickle file's name."""
    if out.endswith(_SUFFIXES):
        return
    if scope == 'mmseg':
        raise ConfigError(f'--out {out}: a folder of label images is not supported yet for '
                          'segmentation configs. Give a file name that ends in .pkl.')
    raise ConfigError(f'--out {out}: expected a file name that ends in .pkl.')


class _AtomicDump(DumpResults):
    """A dump that writes its file in one step."""

    def compute_metrics(self, results: list) -> dict:
        """Write the predictions, in the order of the data set."""
        with atomic_file(self.out_file_path) as file:
            pickle.dump(results, file)
        MMLogger.get_current_instance().info(
            f'{len(results)} predictions are in {self.out_file_path}')
        return {}


def _dump_class(scope: str) -> type[DumpResults]:
    """The library's own form of predictions."""
    if scope == 'mmdet':
        from mmdet.evaluation import DumpDetResults
        return DumpDetResults
    return DumpResults


def dump_predictions(runner: Runner, out: str) -> None:
    """Write the predictions of `runner.test()` to `out`, before any metric is computed.

    Metrics are computed one after the other, so the predictions survive if one of them fails.
    Detection configs get mmdet's form: one dict an image, masks run-length encoded.
    """
    base = _dump_class(runner.cfg.get('default_scope', 'mmengine'))
    metric = type('AtomicDump', (_AtomicDump, base), {})(out_file_path=out)
    runner.test_evaluator.metrics.insert(0, metric)
