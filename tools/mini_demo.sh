#!/usr/bin/env bash
# The whole way of a detector on a procedural set, with the tools that a real run uses: `make demo`.
# Usage: tools/mini_demo.sh [WORK_DIR]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
OUT=${1:-work_dirs/mini_demo}
CONFIG=configs/adder_fcos_r18_mini.py
TWIN=configs/fcos_r18_mini.py
EXPECTED=0.50
START=$SECONDS

step() {
    printf '\n== %s\n' "$1"
    shift
    printf '$ %s\n' "$*"
    "$@"
}

if [ -f "$OUT/finished" ]; then rm -rf "$OUT"; fi  # an unfinished run goes on, a finished one starts anew
mkdir -p "$OUT"
step 'the mini set' python tools/dataset_converters/make_mini_detection.py
step 'training a small Adder FCOS' python tools/train.py "$CONFIG" --work-dir "$OUT" --resume
CHECKPOINT=$OUT/$(basename "$(cat "$OUT/last_checkpoint")")
step 'testing it on images it never saw' \
    python tools/test.py "$CONFIG" "$CHECKPOINT" --work-dir "$OUT" --out "$OUT/predictions.pkl" --show-dir pictures
step 'curves of loss and AP' python tools/analysis_tools/plot_curves.py "$OUT" --out "$OUT/curves.png"
step 'a submission in the form of the COCO server' \
    python tools/submit.py coco-det "$OUT/predictions.pkl" --name adder-fcos-mini --out "$OUT/submission" \
    --ann-file data/mini/coco/annotations/instances_val2017.json
step 'what the model costs beside its convolutional twin' \
    python tools/analysis_tools/get_cost.py "$CONFIG" --compare "$TWIN" --depth 1 --json "$OUT/cost.json" \
    --picture "$OUT/cost.png"
step 'one page of all that' python tools/analysis_tools/report.py "$OUT" --out "$OUT/report"

touch "$OUT/finished"
python - "$OUT" "$EXPECTED" $((SECONDS - START)) <<'PYTHON'
import json
import sys
from pathlib import Path

out, expected, seconds = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
tested = max(out.glob('2*/2*.json'), key=lambda path: path.stat().st_mtime)  # of the test, named after its time
metrics = json.loads(tested.read_text())
ap50 = metrics['coco/bbox_mAP_50']
print(f"""
Done in {seconds // 60} min {seconds % 60:02d} s: AP50 {ap50:.3f}, AP {metrics['coco/bbox_mAP']:.3f} on the validation split
  pictures    {tested.parent}/pictures/ (ground truth left, detections right)
  curves      {out}/curves.png
  costs       {out}/cost.png
  submission  {out}/submission/
  all of it   {out}/report/index.html
  checkpoint  {out}/{Path((out / 'last_checkpoint').read_text().strip()).name}
Next: your own images with tools/demo.py, your own data with --cfg-options data_root=... classes=... (README.md)""")
if ap50 < expected:
    sys.exit(f'AP50 is below {expected:.2f}, which this demo should reach: something is wrong here')
PYTHON
