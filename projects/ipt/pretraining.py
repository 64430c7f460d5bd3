"""Pre-training batches of IPT: clean crops from any image folder, corrupted for one task that is drawn for each batch.

As in the released training code (MindSpore), every sample brings one random crop for each scale, so that the network's
input has one size whatever the task, and is not flipped. The task of a batch is drawn uniformly. It follows from the
run's seed and the number of the iteration alone: all processes of a run agree, and a resumed run goes on with the
tasks that the uninterrupted one would have had.
"""

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.dist import broadcast_object_list
from mmengine.logging import MessageHub
from mmengine.registry import MODELS, TRANSFORMS
from PIL import Image

from projects.restoration.augment import META_KEYS
from projects.restoration.data_sample import RestorationDataSample
from projects.restoration.preprocessor import RestorationDataPreprocessor
from projects.runtime.errors import ConfigError


@TRANSFORMS.register_module()
class PackScaleCrops(BaseTransform):
    """Pack one random square of the truth for each scale: `inputs[scale]` is (3, s * P, s * P), uint8.

    Where an image is shorter than a crop, what there is of it is enlarged bilinearly to the square.

    Args:
        patch_size (int): P, the side of the network's input.
        scales (Sequence[int]): Scales of the tasks.
        key (str): The clean image, H x W x 3.
        meta_keys (tuple[str]): Facts to keep in `data_samples`, where a sample has them.
    """

    def __init__(self, patch_size=48, scales=(1, 2, 3, 4), key='gt', meta_keys=META_KEYS):
        self.patch_size, self.scales, self.key, self.meta_keys = patch_size, tuple(scales), key, tuple(meta_keys)

    def transform(self, results):
        results.setdefault('img_path', results.get('gt_path'))
        crops = {scale: self._crop(results[self.key], scale * self.patch_size) for scale in self.scales}
        facts = {key: results[key] for key in self.meta_keys if key in results and key != 'scale'}
        return dict(inputs=crops, data_samples=RestorationDataSample(metainfo=facts))

    @staticmethod
    def _crop(image, side):
        sides = [min(side, length) for length in image.shape[:2]]
        top, left = (np.random.randint(length - part + 1) for length, part in zip(image.shape[:2], sides, strict=True))
        crop = image[top:top + sides[0], left:left + sides[1]]
        if sides != [side, side]:
            crop = np.asarray(Image.fromarray(crop).resize((side, side), Image.Resampling.BILINEAR))
        return torch.from_numpy(crop.transpose(2, 0, 1).copy())

    def __repr__(self):
        return f'{type(self).__name__}(patch_size={self.patch_size}, scales={self.scales})'


@MODELS.register_module()
class TaskCorruptionPreprocessor(RestorationDataPreprocessor):
    """Draws a task for each training batch and corrupts the clean crops for it. Test batches are as usual.

    Args:
        degradations (dict[str, dict]): For each task of the network a degradation, such as
            `dict(type='BicubicDegradation', scale=2)`.
        mean, std, kwargs: As for `RestorationDataPreprocessor`; IPT takes 0..255, hence the default of `std`.

    Raises:
        ConfigError: no degradations; from `forward`: the samples bring no crop of a task's scale.
    """

    def __init__(self, degradations, mean=0.0, std=1.0, **kwargs):
        super().__init__(mean=mean, std=std, **kwargs)
        if not degradations:
            raise ConfigError('model.data_preprocessor.degradations is empty, expected one for each task')
        self.degradations = {task: MODELS.build(cfg) for task, cfg in degradations.items()}
        self._seed, self._step = None, 0

    def draw_task(self):
        """The task of this iteration; without a runner, of the next call."""
        hub = MessageHub.get_current_instance()
        if self._seed is None:
            seed = [hub.get_info('seed') or 0]
            broadcast_object_list(seed)  # with `diff_rank_seed` processes have seeds of their own
            self._seed = seed[0]
        step = hub.get_info('iter')
        if step is None:
            step, self._step = self._step, self._step + 1
        tasks = list(self.degradations)
        return tasks[np.random.default_rng([self._seed, step]).integers(len(tasks))]

    def forward(self, data, training=False):
        """Prepare a batch.

        Args:
            data (dict): In training `inputs`, for each scale a list of clean crops, from `PackScaleCrops`, and
                `data_samples`; in testing as for `RestorationDataPreprocessor`.
            training (bool): Which of both.

        Returns:
            dict: `inputs` and `data_samples`, which in training carry `gt_img`, `task` and `scale`.
        """
        if not training:
            return super().forward(data, training)
        task = self.draw_task()
        degradation = self.degradations[task]
        crops = data['inputs']
        if not isinstance(crops, dict) or degradation.scale not in crops:
            found = f'crops for scales {list(crops)}' if isinstance(crops, dict) else 'plain images'
            raise ConfigError(f'task {task} needs clean crops for scale {degradation.scale}, and the training pipeline '
                              f'yields {found}. End it with dict(type="PackScaleCrops", scales=[...])')
        data = self.cast_data(dict(inputs=list(crops[degradation.scale]), data_samples=data['data_samples']))
        clean = torch.stack(data['inputs']).float()
        truth = self.normalize(clean)
        for sample, image in zip(data['data_samples'], truth, strict=True):
            sample.gt_img = image
            sample.set_metainfo(dict(task=task, scale=degradation.scale))
        return dict(inputs=self.normalize(degradation(clean)), data_samples=data['data_samples'])
