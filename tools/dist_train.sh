#!/usr/bin/env bash
# Train with several processes: NCCL on GPUs, gloo without.
usage() {
    cat >&2 <<USAGE
usage: $(basename "$0") CONFIG N [options of tools/train.py]

Starts N processes on this machine, one for each GPU (or N on the CPU if there is no GPU).

Several machines: run it on each of them, with the same PORT and MASTER_ADDR.
  NNODES       number of machines                (default 1)
  NODE_RANK    number of this one, from 0        (default 0)
  MASTER_ADDR  address of machine 0              (default 127.0.0.1)
  PORT         a free port on machine 0          (default: any free one; 29500 if NNODES > 1)
  PYTHON       the interpreter                   (default: the active or the repository's .venv)
USAGE
    exit 2
}
[ $# -ge 2 ] && [[ $2 =~ ^[1-9][0-9]*$ ]] || usage
CONFIG=$1 N=$2
shift 2
source "$(dirname "${BASH_SOURCE[0]}")/launch_env.sh"
launch "$N" train.py "$CONFIG" "$@"
