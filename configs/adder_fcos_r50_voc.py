# Adder FCOS R-50 (B+N) on PASCAL VOC 07+12: 76.5 mAP in arXiv 2112.13608, table 6.
_base_ = [
    '_base_/models/adder_fcos_r50.py', '_base_/datasets/voc0712_detection.py', '_base_/schedules/adder_1x.py',
    '_base_/default_runtime.py'
]
custom_imports = dict(
    imports=['projects.runtime', 'projects.det_data', 'projects.adder_fcos'], allow_failed_imports=False)
model = dict(bbox_head=dict(num_classes=20))
