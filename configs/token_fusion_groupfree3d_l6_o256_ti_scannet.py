# TokenFusion (arXiv 2204.08721) of Group-Free-3D, 6 decoder layers and 256 queries, with YOLOS-Ti on ScanNet V2, ten
# frames a scene.
_base_ = [
    '_base_/models/token_fusion_groupfree3d_scannet.py', '_base_/datasets/scannet_3d.py',
    '_base_/schedules/groupfree3d_400e.py'
]
custom_imports = dict(imports=['projects.runtime', 'projects.token_fusion.detection3d'], allow_failed_imports=False)
