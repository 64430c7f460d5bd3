# TokenFusion with MiT-B5 on NYUv2, see token_fusion_b2_nyuv2.py.
_base_ = 'token_fusion_b2_nyuv2.py'
checkpoint = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b5_20220624-658746d9.pth'
model = dict(backbone=dict(arch='b5', init_cfg=dict(checkpoint=checkpoint)))
