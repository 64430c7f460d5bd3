# Sourced by the launch scripts: which Python to use, and how to start several processes with it.
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(dirname "$TOOLS")

if [ -z "${PYTHON:-}" ]; then
    if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && [ -x "$ROOT/.venv/bin/python" ]; then
        PYTHON=$ROOT/.venv/bin/python
    else
        PYTHON=python
    fi
fi
export PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH}

# launch N SCRIPT ARGUMENTS...: run tools/SCRIPT in N processes of this machine
launch() {
    local processes=$1 script=$2 meeting
    shift 2
    if [ "${NNODES:-1}" = 1 ] && [ -z "${PORT:-}" ]; then
        meeting=(--standalone)  # picks a free port, so that two runs on a machine do not meet
    else
        meeting=(--nnodes "${NNODES:-1}" --node-rank "${NODE_RANK:-0}"
                 --master-addr "${MASTER_ADDR:-127.0.0.1}" --master-port "${PORT:-29500}")
    fi
    exec "$PYTHON" -m torch.distributed.run "${meeting[@]}" --nproc-per-node "$processes" \
        "$TOOLS/$script" "$@" --launcher pytorch
}

# slurm SCRIPT ARGUMENTS...: run tools/SCRIPT in GPUS tasks of a Slurm job
slurm() {
    local script=$1
    shift
    command -v srun > /dev/null || { echo "error: there is no srun here; is this a Slurm cluster?" >&2; exit 1; }
    # SRUN_ARGS and PY_ARGS hold several words each
    exec srun -p "$PARTITION" --job-name="$JOB_NAME" --gres="gpu:${GPUS_PER_NODE:-8}" \
        --ntasks="${GPUS:-8}" --ntasks-per-node="${GPUS_PER_NODE:-8}" \
        --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
        "$PYTHON" -u "$TOOLS/$script" "$@" --launcher slurm ${PY_ARGS:-}
}
