# mmseg's PSPNet (arXiv 1612.01105), ResNet-50 at output stride 8.
_base_ = 'mmseg::_base_/models/pspnet_r50-d8.py'
