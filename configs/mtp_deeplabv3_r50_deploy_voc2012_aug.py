# For testing and export: the fine-tuned network without what only training needs.
_base_ = 'mtp_deeplabv3_r50_finetune_voc2012_aug.py'
model = dict(auxiliary_head=None)
load_from = None
