#!/usr/bin/env bash
# The slow tests: real searches that are killed, cut off or run for long. About 6 minutes on 2 cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_WAIT_POLICY=PASSIVE
pytest -m slow -n 2 --dist loadfile
