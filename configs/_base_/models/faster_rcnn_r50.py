# Faster R-CNN R-50 FPN as in mmdet, statistics and the first stage frozen. Weights of ImageNet are downloaded by
# mmengine (torchvision://resnet50); a local file: model.backbone.init_cfg.checkpoint=/path/resnet50.pth
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'
