"""A regression task without mmdet whose checkpoints take a while to write."""

import torch
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from torch import nn


@DATASETS.register_module()
class ToyDataset(torch.utils.data.Dataset):
    """x and 2 x for x in 0..7."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        x = torch.tensor([float(index)])
        return dict(x=x, y=2 * x)


@MODELS.register_module()
class ToyModel(BaseModel):
    """One used weight, and `size` float32 values that only make the checkpoint larger."""

    def __init__(self, size):
        super().__init__()
        self.line = nn.Linear(1, 1)
        self.register_buffer('ballast', torch.rand(size))

    def forward(self, x, y, mode='tensor'):
        predicted = self.line(x)
        return dict(loss=((predicted - y) ** 2).mean()) if mode == 'loss' else predicted
