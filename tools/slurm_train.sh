#!/usr/bin/env bash
# Train on a cluster run by Slurm, one task for each GPU.
usage() {
    cat >&2 <<USAGE
usage: $(basename "$0") PARTITION JOB_NAME CONFIG WORK_DIR [options of tools/train.py]

  GPUS           tasks, that is GPUs, in all   (default 8)
  GPUS_PER_NODE  of these on one machine       (default 8)
  CPUS_PER_TASK  CPU cores for each task       (default 5)
  SRUN_ARGS      further options of srun
  PYTHON         the interpreter               (default: the active or the repository's .venv)
USAGE
    exit 2
}
[ $# -ge 4 ] || usage
PARTITION=$1 JOB_NAME=$2 CONFIG=$3 WORK_DIR=$4
shift 4
source "$(dirname "${BASH_SOURCE[0]}")/launch_env.sh"
slurm train.py "$CONFIG" --work-dir "$WORK_DIR" "$@"
