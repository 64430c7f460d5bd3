"""Packaging of mmdownstream: the plugin packages under ``projects`` and the compiled CPU kernels.

The kernels are optional: without a compiler (or without torch at build time) the package installs and the adder
layer falls back to its plain-torch reference. Build with ``--no-build-isolation`` so that they are compiled against
the torch that will run them; ``make`` does all of that.
"""

import os
import sys
from pathlib import Path

from setuptools import find_namespace_packages, setup

DET = ['mmdet>=3.3', 'mmcv>=2.1', 'faster-coco-eval>=1.8']
SEG = ['mmsegmentation>=1.2', 'mmcv>=2.1', 'ftfy', 'regex']
DET3D = ['mmdet3d>=1.4', 'mmdet>=3.3', 'mmcv>=2.1', 'nuscenes-devkit', 'scipy']
RGBD = ['h5py', 'scipy']  # the files of MATLAB that NYUv2 and SUN RGB-D come in
PRUNE = [*SEG, 'torch-pruning>=1.5']
GPU3D = [*DET3D, 'spconv-cu126>=2.3.8; platform_system == "Linux"']  # the faster engine of sparse convolution on GPUs
ONNX = ['onnx', 'onnxscript', 'onnxruntime']
TEST = ['pytest', 'pytest-xdist', 'ruff', *ONNX]


def kernels():
    """Extension modules and the command that builds them; empty where torch cannot be imported."""
    try:
        from torch.utils.cpp_extension import BuildExtension, CppExtension
    except ImportError:
        print('mmdownstream: torch is not installed here, the compiled kernels are left out', file=sys.stderr)
        return [], {}

    class OptionalBuild(BuildExtension):
        """Goes on without the kernels where they do not compile, and says so."""

        def run(self):
            try:
                super().run()
            except Exception as error:  # compilers fail in many ways; each has a working fallback
                if os.environ.get('MMDOWNSTREAM_REQUIRE_KERNELS') == '1':
                    raise
                print(f'mmdownstream: compiled kernels left out ({error}); the slower plain-torch reference '
                      'will serve. Set MMDOWNSTREAM_REQUIRE_KERNELS=1 to see the failure.', file=sys.stderr)

        def copy_extensions_to_source(self):
            self.extensions = [e for e in self.extensions if os.path.exists(self.get_ext_fullpath(e.name))
                               or os.path.exists(os.path.join(self.build_lib, self.get_ext_filename(e.name)))]
            super().copy_extensions_to_source()

    sources = sorted(str(p) for p in Path('projects/adder/csrc').glob('*.cpp'))
    flags = [] if sys.platform == 'win32' else ['-O3', '-g0', '-ffp-contract=off', '-fopenmp', '-Wno-psabi']
    extension = CppExtension('projects.adder._native', sources, extra_compile_args={'cxx': flags},
                             depends=sorted(str(p) for p in Path('projects/adder/csrc').glob('*.h')))
    return [extension], {'build_ext': OptionalBuild}


extensions, commands = kernels()
setup(
    name='mmdownstream',
    version='0.1.0',
    description='Vision methods that plug into OpenMMLab: adder detection, dynamic pyramids, distillation and more',
    long_description=Path('README.md').read_text(encoding='utf-8') if Path('README.md').exists() else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_namespace_packages(include=['projects', 'projects.*'], exclude=['*.csrc']),
    package_data={'': ['*.md', 'metafile.yml', 'csrc/*.h', 'csrc/*.cpp']},
    install_requires=['torch', 'numpy', 'mmengine>=0.10.7', 'matplotlib', 'scikit-learn', 'tqdm'],
    extras_require={'det': DET, 'seg': SEG, 'det3d': DET3D, 'gpu3d': GPU3D, 'rgbd': RGBD, 'prune': PRUNE, 'onnx': ONNX,
                    'test': TEST, 'all': DET + SEG + DET3D + RGBD + PRUNE},
    ext_modules=extensions,
    cmdclass=commands,
    zip_safe=False,
)
