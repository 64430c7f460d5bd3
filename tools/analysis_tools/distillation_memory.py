"""Peak memory of a distilled training step, beside the student's own step and the teacher's inference.

Each of the three runs in a process of its own on a random batch, with weights, gradients and momentum counted; on the
CPU it is the growth of the resident set, on a GPU what torch allocated.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch
from mmengine.config import DictAction
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope

sys.path.append(str(Path(__file__).resolve().parents[2]))

from projects.runtime.command_line import CFG_OPTIONS_HELP, parse, run_tool
from projects.runtime.config_files import load_config
from projects.runtime.errors import ConfigError, UserError

PARTS = ('student', 'teacher', 'both')
MIB = 2 ** 20


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a distilled detector; the teacher gets random weights')
    parser.add_argument('--shape', type=int, nargs=2, default=[800, 1333], metavar=('HEIGHT', 'WIDTH'),
                        help='of the images (default: 800 1333)')
    parser.add_argument('--batch-size', type=int, default=2, help='default: 2')
    parser.add_argument('--device', default='cpu', help='default: cpu')
    parser.add_argument('--part', choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help=CFG_OPTIONS_HELP)
    return parse(parser, argv)


def random_batch(model, args):
    """What the preprocessor makes of random images with ten boxes each."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData
    height, width = args.shape
    generator = torch.Generator().manual_seed(0)
    samples = []
    for _ in range(args.batch_size):
        corners = torch.rand(10, 2, generator=generator) * torch.tensor([width, height]) * 0.7
        boxes = torch.cat([corners, corners + 16 + torch.rand(10, 2, generator=generator) * min(height, width) / 4], 1)
        meta = dict(img_shape=(height, width), ori_shape=(height, width), scale_factor=(1., 1.))
        sample = DetDataSample(metainfo=meta)
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.zeros(10, dtype=torch.long))
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        samples.append(sample)
    images = [torch.randint(256, (3, height, width), dtype=torch.uint8, generator=generator) for _ in samples]
    batch = model.data_preprocessor(dict(inputs=images, data_samples=samples), True)
    return batch['inputs'], batch['data_samples']


def resident(key):
    """Bytes of this process's resident set: 'VmRSS' as of now, 'VmHWM' at its highest.

    `resource.getrusage` would tell the peak of the process that started this one, if that is larger.
    """
    lines = Path('/proc/self/status').read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) * 1024


def train(model, batch, part, cfg):
    """Two training steps, the second one with momentum in place."""
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    # the plain detector's class is the last of the bases
    loss = model.loss if part == 'both' else type(model).__bases__[-1].loss.__get__(model)
    for _ in range(2):
        total, _ = model.parse_losses(loss(*batch))
        wrapper.update_params(total)


def measure(args, cfg):
    """Peak bytes of one part, in this process."""
    on_gpu = args.device.startswith('cuda')
    settings = cfg.model
    if args.part == 'teacher':
        teacher = cfg.model.teacher.config
        settings = (teacher if isinstance(teacher, dict) else load_config(teacher)).model
    before = torch.cuda.memory_allocated() if on_gpu else resident('VmRSS')
    model = MODELS.build(settings).to(args.device)
    if args.part == 'teacher':
        with torch.no_grad():
            model.eval().extract_feat(random_batch(model, args)[0])
    else:
        train(model.train(), random_batch(model, args), args.part, cfg)
    if on_gpu:
        return torch.cuda.max_memory_allocated() - before
    return resident('VmHWM') - before


def in_own_process(part, argv):
    """Run this script again for one part."""
    done = subprocess.run([sys.executable, __file__, *argv, '--part', part], capture_output=True, text=True,
                          check=False)
    if done.returncode:
        raise UserError(f'measuring {part!r} failed:\n{done.stderr[-2000:]}')
    return json.loads(done.stdout.splitlines()[-1])


def main(argv=None):
    argv = sys.argv[1:] if argv is None else [str(item) for item in argv]
    args = parse_args(argv)
    if args.part is None:
        peaks = {part: in_own_process(part, argv) for part in PARTS}
        for part, peak in peaks.items():
            print(f'{part:8} {peak / MIB:8.0f} MiB')
        print(f'both / (student + teacher) = {peaks["both"] / (peaks["student"] + peaks["teacher"]):.3f}')
        return
    cfg = load_config(args.config, args.cfg_options)
    init_default_scope('mmdet')
    if 'teacher' not in cfg.model:
        raise ConfigError(f'{cfg.filename}: model has no teacher')
    cfg.model.teacher.checkpoint = None
    print(json.dumps(measure(args, cfg)))


if __name__ == '__main__':
    run_tool(main)
