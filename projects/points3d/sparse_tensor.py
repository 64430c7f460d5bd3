"""``SparseTensor``: features on the occupied cells of a batch of 3D grids, the value that sparse layers pass on."""

import torch


def triple(value, name, least):
    """An integer or three of them as a tuple of three integers, each at least `least`.

    Raises:
        ValueError: anything else; the message begins with `name`.
    """
    values = (value,) * 3 if isinstance(value, int) else tuple(int(x) for x in value)
    if len(values) != 3 or min(values) < least:
        raise ValueError(f'{name}={value!r}: expected an integer of at least {least}, or three of them')
    return values


class SparseTensor:
    """Features of N voxels of a batch of grids.

    Args:
        features (Tensor): (N, C), floating point.
        indices (Tensor): (N, 4), integers [batch item, x, y, z], each row once; the rows may stand in any order, and
            a batch item may have none. Kept as int32 on the device of the features.
        spatial_shape (sequence of int): cells along x, y and z.
        batch_size (int): number of batch items.
        indice_dict (dict, optional): rulebooks by ``indice_key``, shared by all tensors that are derived from this one.

    Attributes:
        features, indices, spatial_shape (tuple of 3), batch_size, indice_dict: as above. Features are replaced by
            :meth:`replace_feature`, never in place.

    Raises:
        ValueError: shapes or types that do not fit, or indices outside the grids. That no cell stands twice is checked
            when a layer builds its rulebook.
    """

    def __init__(self, features, indices, spatial_shape, batch_size, indice_dict=None):
        if features.dim() != 2 or not features.is_floating_point():
            raise ValueError(f'SparseTensor: features of shape {tuple(features.shape)} and {features.dtype}: expected '
                             '(N, C) of a floating-point type')
        if indices.shape != (len(features), 4) or indices.is_floating_point() or indices.dtype == torch.bool:
            raise ValueError(f'SparseTensor: indices of shape {tuple(indices.shape)} and {indices.dtype}: expected '
                             f'integers ({len(features)}, 4), a row [batch item, x, y, z] for each row of features')
        self.spatial_shape = triple(spatial_shape, 'SparseTensor: spatial_shape', least=1)
        self.batch_size = int(batch_size)
        if self.batch_size < 1:
            raise ValueError(f'SparseTensor: batch_size={batch_size!r}, expected at least 1')
        self._check_range(indices)
        self.features = features
        self.indices = indices.to(features.device, torch.int32).contiguous()
        self.indice_dict = {} if indice_dict is None else indice_dict

    def _check_range(self, indices):
        if not len(indices):
            return
        low, high = indices.amin(0).tolist(), indices.amax(0).tolist()
        for name, first, last, size in zip(('batch item', 'x', 'y', 'z'), low, high,
                                           (self.batch_size, *self.spatial_shape), strict=True):
            if first < 0 or last >= size:
                raise ValueError(f'SparseTensor: indices have {name} from {first} to {last}, expected 0 to {size - 1}; '
                                 'shift the coordinates, or give a larger spatial_shape or batch_size')

    @classmethod
    def _derived(cls, features, indices, spatial_shape, batch_size, indice_dict):
        """A tensor whose indices a layer made, so that they need no check."""
        tensor = object.__new__(cls)
        tensor.features, tensor.indices, tensor.indice_dict = features, indices, indice_dict
        tensor.spatial_shape, tensor.batch_size = tuple(spatial_shape), batch_size
        return tensor

    def replace_feature(self, features):
        """The same voxels with other features.

        Args:
            features (Tensor): (N, any number of channels).

        Returns:
            SparseTensor: shares indices and rulebooks with this one.

        Raises:
            ValueError: another number of rows.
        """
        if features.dim() != 2 or len(features) != len(self.indices):
            raise ValueError(f'SparseTensor.replace_feature: features of shape {tuple(features.shape)}, expected '
                             f'({len(self.indices)}, C), a row for each voxel')
        return self._derived(features, self.indices, self.spatial_shape, self.batch_size, self.indice_dict)

    def dense(self):
        """The grids with zeros in empty cells: (batch_size, C, X, Y, Z), differentiable."""
        batch, x, y, z = self.indices.long().unbind(1)
        grid = self.features.new_zeros(self.batch_size, *self.spatial_shape, self.features.shape[1])
        return grid.index_put((batch, x, y, z), self.features).permute(0, 4, 1, 2, 3)

    def __repr__(self):
        return (f'SparseTensor(features={tuple(self.features.shape)}, spatial_shape={self.spatial_shape}, '
                f'batch_size={self.batch_size})')
