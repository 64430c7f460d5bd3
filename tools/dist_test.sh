#!/usr/bin/env bash
# Test with several processes: NCCL on GPUs, gloo without. The metrics are those of one process.
usage() {
    cat >&2 <<USAGE
usage: $(basename "$0") CONFIG CHECKPOINT N [options of tools/test.py]

Starts N processes on this machine, one for each GPU (or N on the CPU if there is no GPU).
NNODES, NODE_RANK, MASTER_ADDR, PORT and PYTHON are read as in dist_train.sh.
USAGE
    exit 2
}
[ $# -ge 3 ] && [[ $3 =~ ^[1-9][0-9]*$ ]] || usage
CONFIG=$1 CHECKPOINT=$2 N=$3
shift 3
source "$(dirname "${BASH_SOURCE[0]}")/launch_env.sh"
launch "$N" test.py "$CONFIG" "$CHECKPOINT" "$@"
