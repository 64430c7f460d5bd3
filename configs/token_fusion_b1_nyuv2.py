# TokenFusion with MiT-B1 on NYUv2, see token_fusion_b2_nyuv2.py.
_base_ = 'token_fusion_b2_nyuv2.py'
checkpoint = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b1_20220624-02e5a6a1.pth'
model = dict(backbone=dict(arch='b1', init_cfg=dict(checkpoint=checkpoint)))
