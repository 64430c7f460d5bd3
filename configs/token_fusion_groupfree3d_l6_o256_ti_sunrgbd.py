# TokenFusion (arXiv 2204.08721) of Group-Free-3D, 6 decoder layers and 256 queries, with YOLOS-Ti on SUN RGB-D.
_base_ = [
    '_base_/models/token_fusion_groupfree3d_ti.py', '_base_/datasets/sunrgbd_3d.py',
    '_base_/schedules/groupfree3d_600e.py'
]
custom_imports = dict(imports=['projects.runtime', 'projects.token_fusion.detection3d'], allow_failed_imports=False)

# ---- what you change first
batch_size = 8  # for each of 4 GPUs

# ---- what you change sometimes
# weights of DeiT, as projects/token_fusion/detection3d/vit_weights.py writes them; None begins at random
pretrained = None
model = dict(image_branch=dict(init_cfg=pretrained and dict(type='Pretrained', checkpoint=pretrained)))
train_dataloader = dict(batch_size=batch_size)
