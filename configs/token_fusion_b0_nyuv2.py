# TokenFusion with MiT-B0 on NYUv2, see token_fusion_b2_nyuv2.py.
_base_ = 'token_fusion_b2_nyuv2.py'
checkpoint = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b0_20220624-7e0fe6dd.pth'
model = dict(backbone=dict(arch='b0', init_cfg=dict(checkpoint=checkpoint)))
