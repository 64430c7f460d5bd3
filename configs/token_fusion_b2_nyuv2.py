# TokenFusion with MiT-B2 on NYUv2, batch 6: one GPU, or three with --cfg-options train_dataloader.batch_size=2.
_base_ = [
    '_base_/models/token_fusion_b2.py', '_base_/datasets/nyuv2_rgbd.py',
    '_base_/schedules/token_fusion_3x100e.py'
]
custom_imports = dict(imports=['projects.runtime', 'projects.token_fusion.segmentation'], allow_failed_imports=False)
model = dict(data_preprocessor=dict(size=(500, 500)))
