# TokenFusion with MiT-B3 on SUN RGB-D, see token_fusion_b2_sunrgbd.py.
_base_ = 'token_fusion_b2_sunrgbd.py'
checkpoint = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b3_20220624-13b1141c.pth'
model = dict(backbone=dict(arch='b3', init_cfg=dict(checkpoint=checkpoint)))
