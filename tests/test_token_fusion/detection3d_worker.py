"""One of two gloo processes that evaluate five samples. Arguments: rank, store, result file."""

import json
import sys
import types
from pathlib import Path

import torch
from torch import distributed

SAMPLES = 5


class Upright:
    """Boxes (n, 7) as mmdet3d's, as far as the metric looks at them; to import the real ones takes many seconds."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, chosen):
        return Upright(self.rows[chosen])

    def to(self, device):
        return self

    def overlaps(self, first, second):
        """Of boxes without their turns, (n, k)."""
        first, second = first.rows[:, None, :6], second.rows[:, :6]
        low = torch.maximum(first[..., :3] - first[..., 3:] / 2, second[:, :3] - second[:, 3:] / 2)
        high = torch.minimum(first[..., :3] + first[..., 3:] / 2, second[:, :3] + second[:, 3:] / 2)
        common = (high - low).clamp(min=0).prod(2)
        return common / (first[..., 3:].prod(2) + second[:, 3:].prod(1) - common)


def sample(seed, boxes):
    """A sample with noisy detections, as the evaluator hands it over. Class 3 is detected but never true."""
    random = torch.Generator().manual_seed(seed)
    truth = torch.rand(6, 7, generator=random) * torch.tensor([4, 4, 2, 1, 1, 1, 6])
    truth[:, 3:] += .4
    found = torch.cat([truth, truth]) + torch.randn(12, 7, generator=random) * .06
    labels = torch.arange(6) % 3
    noisy = torch.cat([labels, labels + torch.randint(2, (6,), generator=random)])
    return dict(eval_ann_info=dict(gt_bboxes_3d=boxes(truth), gt_labels_3d=labels.numpy()),
                pred_instances_3d=dict(bboxes_3d=boxes(found), labels_3d=noisy,
                                       scores_3d=torch.rand(12, generator=random)))


def evaluate(seeds, metric, boxes=Upright):
    """Figures of a metric, by a process that has seen these samples."""
    metric.dataset_meta = dict(classes=('bed', 'table', 'chair', 'desk'), box_type_3d='depth')
    for seed in seeds:
        metric.process({}, [sample(seed, boxes)])
    return metric.evaluate(SAMPLES)


def main():
    # the metric alone: what else the package imports takes a process many seconds
    root = Path(__file__).resolve().parents[2] / 'projects' / 'token_fusion'
    for name, folder in (('projects.token_fusion', root), ('projects.token_fusion.detection3d', root / 'detection3d')):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(folder)]
    from projects.token_fusion.detection3d.metric import BoxAP3D

    rank, store, out = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=f'file://{store}', rank=rank, world_size=2)
    seen = [[0, 2, 4], [1, 3, 0]][rank]  # the sampler fills up with a sample seen before
    out.write_text(json.dumps(evaluate(seen, BoxAP3D())))
    distributed.destroy_process_group()


if __name__ == '__main__':
    main()
