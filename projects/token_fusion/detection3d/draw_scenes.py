"""Draws scenes of a SUN RGB-D info file: projected points, and the true boxes in the image.

    python -m projects.token_fusion.detection3d.draw_scenes INFOS.pkl --points FOLDER --images FOLDER --out FOLDER
"""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path

import numpy as np
import torch
from mmdet3d.datasets import SUNRGBDDataset
from mmdet3d.structures import DepthInstance3DBoxes

from projects.runtime.command_line import run_tool

from .pictures import picture, write_picture


def main() -> None:
    """Command line, see the module's description."""
    parser = argparse.ArgumentParser(description='Draw the truth of scenes of a SUN RGB-D info file.')
    parser.add_argument('infos', type=Path, help='info file (.pkl) of mmdet3d 1.x')
    parser.add_argument('--points', type=Path, required=True, help='folder of the point files')
    parser.add_argument('--images', type=Path, required=True, help='folder of the images')
    parser.add_argument('--out', type=Path, required=True, help='folder for the pictures')
    parser.add_argument('--number', type=int, default=4, help='scenes to draw, from the first on (default: 4)')
    args = parser.parse_args()
    for info in pickle.loads(args.infos.read_bytes())['data_list'][:args.number]:
        camera, cloud = info['images']['CAM0'], info['lidar_points']
        points = np.fromfile(args.points / cloud['lidar_path'], np.float32).reshape(-1, cloud['num_pts_feats'])
        meta = dict(img_path=str(args.images / camera['img_path']), depth2img=camera['depth2img'],
                    img_shape=(int(camera['height']), int(camera['width'])))
        boxes = np.array([entry['bbox_3d'] for entry in info['instances']], np.float32).reshape(-1, 7)
        truth = (DepthInstance3DBoxes(boxes, origin=(.5, .5, .5)),
                 np.array([entry['bbox_label_3d'] for entry in info['instances']], int))
        path = args.out / f'{Path(cloud["lidar_path"]).stem}.png'
        write_picture(path, picture(torch.from_numpy(points), meta, SUNRGBDDataset.METAINFO['classes'], truth))
        print(f'Written: {path}')


if __name__ == '__main__':
    run_tool(main)
