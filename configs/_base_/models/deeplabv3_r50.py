# mmseg's DeepLabv3 (arXiv 1706.05587), ResNet-50 at output stride 8. The crop size, to which batches are padded, comes
# with the data set.
_base_ = 'mmseg::_base_/models/deeplabv3_r50-d8.py'
