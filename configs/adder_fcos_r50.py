# Adder FCOS R-50 (B+N, R-PAFPN), COCO, 1x: the row "36.5 AP, 702.7 mJ" of arXiv 2112.13608, table 5.
# 8 GPUs with 4 images each; on other numbers add --auto-scale-lr.
_base_ = [
    '_base_/models/adder_fcos_r50.py', '_base_/datasets/coco_detection.py', '_base_/schedules/adder_1x.py',
    '_base_/default_runtime.py'
]
custom_imports = dict(
    imports=['projects.runtime', 'projects.det_data', 'projects.adder_fcos'], allow_failed_imports=False)
