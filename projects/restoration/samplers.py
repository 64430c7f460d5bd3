"""Batches whose images come from one data set of several: one scale, or one task, for each step."""

from bisect import bisect_right

from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import BatchSampler


@DATA_SAMPLERS.register_module()
class SameSourceBatchSampler(BatchSampler):
    """Groups what the sampler draws from a `ConcatDataset` by data set, and yields a batch whenever one is full.

    Networks that serve several scales (VDSR, CARN) need it, because images of one batch must have one size. With a
    shuffling sampler the sources are mixed in proportion to their lengths.

    Args:
        sampler (Sampler): Draws indices of a `ConcatDataset`.
        batch_size (int): Images of a batch.
        drop_last (bool): Whether batches that are not full at the end are left out.

    Raises:
        TypeError: the data set is no `ConcatDataset`.
    """

    def __init__(self, sampler, batch_size, drop_last=False):
        super().__init__(sampler, batch_size, drop_last)
        if not hasattr(sampler.dataset, 'cumulative_sizes'):
            raise TypeError('SameSourceBatchSampler needs a data set of type ConcatDataset, got '
                            f'{type(sampler.dataset).__name__}')

    def __iter__(self):
        buckets = {}
        for index in self.sampler:
            source = bisect_right(self.sampler.dataset.cumulative_sizes, index)
            bucket = buckets.setdefault(source, [])
            bucket.append(index)
            if len(bucket) == self.batch_size:
                yield bucket
                del buckets[source]
        if not self.drop_last:
            yield from buckets.values()
