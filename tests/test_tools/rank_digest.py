"""A hook that notes what each process of a distributed run saw and what it arrived at."""

import json
from pathlib import Path

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class RankDigestHook(Hook):
    """Writes WORK_DIR/rankN.json: the images of every step, and the sum of all weights."""

    def before_train(self, runner):
        self.images = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.images.append([Path(sample.img_path).name for sample in data_batch['data_samples']])

    def after_train(self, runner):
        weights = {name: value.double().sum().item()
                   for name, value in runner.model.module.state_dict().items()}
        (Path(runner.work_dir) / f'rank{get_rank()}.json').write_text(
            json.dumps(dict(images=self.images, weights=weights)))
