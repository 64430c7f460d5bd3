"""Validation and test loops over several data sets, each with an evaluator of its own, and one table at the end."""

import torch
from mmengine.dist import broadcast_object_list, collect_results, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop
from mmengine.runner.amp import autocast

from projects.runtime.errors import ConfigError


class JointEvaluator(Evaluator):
    """Metrics over all sets of a loop together, such as the dump of predictions (`tools/test.py --out`).

    Each set's results are collected from all processes when the set is done: only then is it known which samples a
    sampler added to even out the processes.
    """

    def __init__(self):
        super().__init__([])
        self._collected = {}

    def collect(self, size):
        """End a set of `size` samples."""
        for metric in self.metrics:
            results = collect_results(metric.results, size, metric.collect_device)
            metric.results.clear()
            if is_main_process():
                self._collected.setdefault(metric, []).extend(results)

    def evaluate(self, size=None):
        """Evaluate the metrics; their values, on all processes."""
        metrics = {}
        if is_main_process():
            for metric in self.metrics:
                values = metric.compute_metrics(self._collected.pop(metric, []))
                metrics.update({f'{metric.prefix}/{key}' if metric.prefix else key: value
                                for key, value in values.items()})
        metrics = [metrics]
        broadcast_object_list(metrics)
        return metrics[0]


class MultiLoop(BaseLoop):
    """What both loops share; while a set runs, `dataloader` is its data loader, as hooks expect.

    Args:
        runner (Runner): The runner.
        dataloader (list[dict or DataLoader]): One for each set; a single one is a list of one.
        evaluator (list): For each set a metric, a list of metrics, or an evaluator. Metrics need a `prefix` that tells
            the sets apart: 'Set5' makes 'Set5/PSNR'.
        fp16 (bool): Whether to run under automatic mixed precision.

    Raises:
        ConfigError: not one evaluator for each data loader, or two sets with a metric of the same name.
    """

    stage = ''

    def __init__(self, runner, dataloader, evaluator, fp16=False):
        if not isinstance(dataloader, (list, tuple)):
            dataloader, evaluator = [dataloader], [evaluator]
        if not isinstance(evaluator, (list, tuple)) or len(evaluator) != len(dataloader):
            found = len(evaluator) if isinstance(evaluator, (list, tuple)) else 1
            raise ConfigError(f'{self.stage}_dataloader lists {len(dataloader)} sets and {self.stage}_evaluator {found}'
                              f': {type(self).__name__} needs one evaluator (a metric, or a list of them) for each')
        self.dataloaders = [runner.build_dataloader(item, seed=runner.seed) for item in dataloader]
        super().__init__(runner, self.dataloaders[0])
        self.evaluators = [runner.build_evaluator(item) for item in evaluator]
        for loader, item in zip(self.dataloaders, self.evaluators, strict=True):
            item.dataset_meta = getattr(loader.dataset, 'metainfo', None)
        self.evaluator = JointEvaluator()
        self.fp16 = fp16

    def run(self):
        """Run all sets; the metrics of all of them in one dict."""
        self._call('before_{}')
        self._call('before_{}_epoch')
        self.runner.model.eval()
        metrics = {}
        for dataloader, evaluator in zip(self.dataloaders, self.evaluators, strict=True):
            self.dataloader = dataloader
            self.runner.visualizer.dataset_meta = evaluator.dataset_meta
            for index, batch in enumerate(dataloader):
                self.run_iter(index, batch, evaluator)
            size = len(dataloader.dataset)
            self._add(metrics, evaluator.evaluate(size))
            self.evaluator.collect(size)
        self._add(metrics, self.evaluator.evaluate())
        if metrics:
            print_log('Results\n' + metric_table(metrics), logger='current')
        self._call('after_{}_epoch', metrics=metrics)
        self._call('after_{}')
        return metrics

    @torch.no_grad()
    def run_iter(self, index, batch, evaluator):
        """One batch of one set."""
        self._call('before_{}_iter', batch_idx=index, data_batch=batch)
        with autocast(enabled=self.fp16):
            outputs = getattr(self.runner.model, f'{self.stage}_step')(batch)
        for item in (evaluator, self.evaluator):
            item.process(data_samples=outputs, data_batch=batch)
        self._call('after_{}_iter', batch_idx=index, data_batch=batch, outputs=outputs)

    def _call(self, point, **kwargs):
        self.runner.call_hook(point.format(self.stage), **kwargs)

    def _add(self, metrics, new):
        twice = metrics.keys() & new.keys()
        if twice:
            raise ConfigError(f'{self.stage}_evaluator: several sets report {", ".join(sorted(twice))}. Give their '
                              'metrics different prefixes, for example prefix="Set5".')
        metrics.update(new)


@LOOPS.register_module()
class MultiValLoop(MultiLoop):
    """Validation on several sets; arguments as for `MultiLoop`. The name is mmagic's."""

    stage = 'val'


@LOOPS.register_module()
class MultiTestLoop(MultiLoop):
    """Test on several sets; arguments as for `MultiLoop`. The name is mmagic's."""

    stage = 'test'


def metric_table(metrics):
    """A text table of metrics called 'SET/NAME': one line a set, one column a name."""
    rows, columns = {}, {}
    for key, value in metrics.items():
        name, _, metric = key.rpartition('/')
        rows.setdefault(name, {})[metric] = f'{value:.4f}' if isinstance(value, float) else str(value)
        columns[metric] = None
    lines = [['set', *columns]] + [[name, *(row.get(metric, '-') for metric in columns)]
                                   for name, row in rows.items()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return '\n'.join('  '.join([line[0].ljust(widths[0]), *(
        cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]) for line in lines)
