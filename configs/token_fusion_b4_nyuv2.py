# TokenFusion with MiT-B4 on NYUv2, see token_fusion_b2_nyuv2.py.
_base_ = 'token_fusion_b2_nyuv2.py'
checkpoint = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b4_20220624-d588d980.pth'
model = dict(backbone=dict(arch='b4', init_cfg=dict(checkpoint=checkpoint)))
