# TokenFusion with MiT-B0 on SUN RGB-D, see token_fusion_b2_sunrgbd.py.
_base_ = 'token_fusion_b2_sunrgbd.py'
checkpoint = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b0_20220624-7e0fe6dd.pth'
model = dict(backbone=dict(arch='b0', init_cfg=dict(checkpoint=checkpoint)))
