#!/usr/bin/env bash
# Makes .venv from constraints.txt, or completes it. Usage: tools/make_env.sh
#
# Every step leaves a mark when it is done, so a run that was cut off goes on where it stopped, and what is there is
# never made again. The slow step is mmcv, which must be compiled against this very torch: about 15 minutes on two
# cores. Its wheel is kept in a cache of the user, so that a second checkout need not wait.
#
#   PYTHON               interpreter to start from (3.10 to 3.12)
#   MMDOWNSTREAM_WHEELS  folder of the kept wheels, default ~/.cache/mmdownstream/wheels
#   MAX_JOBS             compilers at once, default: one a core
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
VENV=$PWD/.venv
MARKS=$VENV/.steps
BUILD=$VENV/build
MMCV=$(sed -n 's/^mmcv==//p' constraints.txt)
export PIP_DISABLE_PIP_VERSION_CHECK=1
export MAX_JOBS=${MAX_JOBS:-$(getconf _NPROCESSORS_ONLN)}

say() { printf '\n[environment] %s\n' "$*"; }
stop() { printf '\n[environment] %s\n' "$*" >&2; exit 1; }
pip() { "$VENV/bin/python" -m pip "$@"; }

# run NAME INPUTS... -- COMMAND...: the command, unless it was done before with the same inputs
run() {
    local name=$1 mark key
    shift
    local inputs=()
    while [ "$1" != -- ]; do inputs+=("$1"); shift; done
    shift
    mark=$MARKS/$name
    key=$(cat "${inputs[@]}" | cksum)
    if [ -f "$mark" ] && [ "$(cat "$mark")" = "$key" ]; then return; fi
    local status
    set +e  # bash does not stop at failures within `COMMAND || ...`: the step runs by itself, and then its status counts
    (set -e; "$@")
    status=$?
    set -e
    [ "$status" -eq 0 ] || stop "step '$name' failed, see above. Running the same command again goes on from here."
    printf '%s\n' "$key" > "$mark"
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.12 python3.11 python3.10}; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' \
                2> /dev/null; then
            echo "$candidate"
            return
        fi
    done
    stop "no Python 3.10, 3.11 or 3.12 with venv found; set PYTHON=/path/to/python"
}

install_torch() {
    say "torch, then the tools that compile mmcv"
    pip install -c constraints.txt torch
    pip install -c constraints.txt numpy setuptools wheel ninja psutil
}

# Compiles in the unpacked folder, so that objects made before an interruption are used again.
compile_mmcv() {
    local source=$BUILD/mmcv-$MMCV log=$BUILD/mmcv.log worker status=0 total start=$SECONDS
    mkdir -p "$BUILD"
    if [ ! -f "$source/.complete" ]; then
        # setuptools comes from the environment: the newest one lacks what mmcv's build imports
        pip download --quiet --no-deps --no-binary mmcv --no-build-isolation -d "$BUILD" "mmcv==$MMCV"
        tar -xzf "$BUILD/mmcv-$MMCV.tar.gz" -C "$BUILD"
        touch "$source/.complete"
    fi
    total=$(find "$source/mmcv/ops/csrc/pytorch" -maxdepth 1 -name '*.cpp' | wc -l)
    total=$((total + $(find "$source/mmcv/ops/csrc/pytorch/cpu" -name '*.cpp' | wc -l)))
    say "compiling mmcv $MMCV with its operators: about 15 minutes on two cores (log: ${log#"$PWD"/})"
    # pip's own cache is left out: it does not know which torch a wheel was compiled for
    (cd "$source" && CFLAGS="${CFLAGS:-} -g0 -O2" MMCV_WITH_OPS=1 "$VENV/bin/python" -m pip wheel -v --no-cache-dir \
        --no-deps --no-build-isolation -w "$1" . > "$log" 2>&1) &
    worker=$!
    local tick=0 end='\n'
    if [ -t 1 ]; then end='\r'; fi  # a line that moves for a person, a line a minute for a log
    while kill -0 "$worker" 2> /dev/null; do
        sleep 2
        tick=$((tick + 1))
        if [ "$end" = '\n' ] && [ $((tick % 30)) -ne 0 ]; then continue; fi
        printf "[environment] mmcv: %s of %s files, %d min %02d s $end" \
            "$(find "$source/build" -name '*.o' 2> /dev/null | wc -l)" "$total" \
            $(((SECONDS - start) / 60)) $(((SECONDS - start) % 60))
    done
    wait "$worker" || status=$?
    printf '\n'
    if [ "$status" -ne 0 ]; then
        tail -n 30 "$log" >&2
        return "$status"
    fi
}

install_mmcv() {
    local key wheels wheel
    key=$("$VENV/bin/python" -c 'import sys, torch
print(f"torch{torch.__version__}-{sys.implementation.cache_tag}" + "-cuda" * torch.cuda.is_available())')
    wheels=${MMDOWNSTREAM_WHEELS:-${XDG_CACHE_HOME:-$HOME/.cache}/mmdownstream/wheels}/$key
    mkdir -p "$wheels"
    if ! ls "$wheels/mmcv-$MMCV"-*.whl > /dev/null 2>&1; then
        rm -rf "$BUILD/wheel"
        compile_mmcv "$BUILD/wheel"
        for wheel in "$BUILD/wheel/mmcv-$MMCV"-*.whl; do  # the cache may be on another disk: copied, then named
            cp "$wheel" "$wheels/.part.$$"
            mv "$wheels/.part.$$" "$wheels/${wheel##*/}"
        done
    fi
    say "installing $(ls "$wheels/mmcv-$MMCV"-*.whl)"
    pip install -c constraints.txt "$wheels/mmcv-$MMCV"-*.whl
    "$VENV/bin/python" -c 'import mmcv.ops'
    rm -rf "$BUILD/mmcv-$MMCV" "$BUILD/mmcv-$MMCV.tar.gz"
}

install_package() {
    say "mmdownstream with all extras, editable (compiles the adder kernels: about a minute)"
    pip install -c constraints.txt --no-build-isolation -e '.[all,test]'
    # mmengine asks for opencv-python, nuscenes-devkit for the headless one; they share their files. The headless one
    # runs on a server without libGL, so its files must be the ones that lie there.
    pip install --quiet -c constraints.txt --no-deps --force-reinstall opencv-python-headless
}

if [ ! -x "$VENV/bin/python" ] || ! pip --version > /dev/null 2>&1; then
    python=$(find_python)
    say "making .venv with $("$python" --version)"
    "$python" -m venv --clear "$VENV"
fi
mkdir -p "$MARKS"
run torch constraints.txt -- install_torch
run mmcv constraints.txt -- install_mmcv
run package constraints.txt setup.py pyproject.toml projects/adder/csrc/* -- install_package
