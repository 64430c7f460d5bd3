# Fine-tuning of what mtp_deeplabv3_r101_cityscapes.py pruned.
_base_ = 'deeplabv3_r101_cityscapes.py'
custom_imports = dict(imports=['projects.runtime', 'projects.seg_pruning'], allow_failed_imports=False)
model = dict(type='PrunedSegmentor', structure='work_dirs/mtp_deeplabv3_r101_cityscapes/pruned.json', pretrained=None)
load_from = 'work_dirs/mtp_deeplabv3_r101_cityscapes/pruned.pth'
