# Fine-tuning of what mtp_deeplabv3_r101_voc2012_aug.py pruned.
_base_ = 'deeplabv3_r101_voc2012_aug.py'
custom_imports = dict(imports=['projects.runtime', 'projects.seg_pruning'], allow_failed_imports=False)
model = dict(type='PrunedSegmentor', structure='work_dirs/mtp_deeplabv3_r101_voc2012_aug/pruned.json', pretrained=None)
load_from = 'work_dirs/mtp_deeplabv3_r101_voc2012_aug/pruned.pth'
