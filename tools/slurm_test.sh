#!/usr/bin/env bash
# Test on a cluster run by Slurm, one task for each GPU.
usage() {
    cat >&2 <<USAGE
usage: $(basename "$0") PARTITION JOB_NAME CONFIG CHECKPOINT [options of tools/test.py]

GPUS, GPUS_PER_NODE, CPUS_PER_TASK, SRUN_ARGS and PYTHON are read as in slurm_train.sh.
USAGE
    exit 2
}
[ $# -ge 4 ] || usage
PARTITION=$1 JOB_NAME=$2 CONFIG=$3 CHECKPOINT=$4
shift 4
source "$(dirname "${BASH_SOURCE[0]}")/launch_env.sh"
slurm test.py "$CONFIG" "$CHECKPOINT" "$@"
