# Fine-tuning of what mtp_deeplabv3_r50_voc2012_aug.py pruned: the dense recipe, from the pruned weights.
_base_ = 'deeplabv3_r50_voc2012_aug.py'
custom_imports = dict(imports=['projects.runtime', 'projects.seg_pruning'], allow_failed_imports=False)
model = dict(type='PrunedSegmentor', structure='work_dirs/mtp_deeplabv3_r50_voc2012_aug/pruned.json', pretrained=None)
load_from = 'work_dirs/mtp_deeplabv3_r50_voc2012_aug/pruned.pth'
