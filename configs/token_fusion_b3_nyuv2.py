# TokenFusion with MiT-B3 on NYUv2, the released model: batch 6, one GPU, or three with
# --cfg-options train_dataloader.batch_size=2.
_base_ = 'token_fusion_b2_nyuv2.py'
checkpoint = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b3_20220624-13b1141c.pth'
model = dict(backbone=dict(arch='b3', init_cfg=dict(checkpoint=checkpoint)))
