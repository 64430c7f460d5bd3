# Fine-tuning of what mtp_pspnet_r50_cityscapes.py pruned: the dense recipe, from the pruned weights.
_base_ = 'pspnet_r50_cityscapes.py'
custom_imports = dict(imports=['projects.runtime', 'projects.seg_pruning'], allow_failed_imports=False)
model = dict(type='PrunedSegmentor', structure='work_dirs/mtp_pspnet_r50_cityscapes/pruned.json', pretrained=None)
load_from = 'work_dirs/mtp_pspnet_r50_cityscapes/pruned.pth'
