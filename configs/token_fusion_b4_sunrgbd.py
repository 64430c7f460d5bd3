# TokenFusion with MiT-B4 on SUN RGB-D, see token_fusion_b2_sunrgbd.py.
_base_ = 'token_fusion_b2_sunrgbd.py'
checkpoint = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b4_20220624-d588d980.pth'
model = dict(backbone=dict(arch='b4', init_cfg=dict(checkpoint=checkpoint)))
