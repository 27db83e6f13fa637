"""Programs of Slurm on this machine: they note what they were given; sbatch runs the file, at once and to its end."""

import os
import stat
from pathlib import Path

SBATCH = """#!/bin/bash
echo "sbatch $*" >> {notes}
cp "$1" {place}/batch.sh
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$1")
echo "Submitted batch job 77"
(
  sleep 1  # submitit moves its files
  for task in $(seq 0 ${{last:-0}}); do
    [ -n "$last" ] && export SLURM_ARRAY_JOB_ID=77 SLURM_ARRAY_TASK_ID=$task
    env -u AUTOOPT_STORAGE SLURM_JOB_ID=77 SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 SLURM_NODEID=0 SLURM_PROCID=0 \\
      SLURM_LOCALID=0 SLURM_JOB_NODELIST=here bash "$1"
  done
  touch {place}/over
) > {place}/printed.txt 2>&1 &
"""
SRUN = """#!/bin/bash
while [[ "$1" == --* ]]; do
  case "$1" in --output|--error) shift 2 ;; *) shift ;; esac
done
exec "$@"
"""
NOTE = """#!/bin/bash
echo "$(basename $0) $*" >> {notes}
"""


def install(place: Path) -> Path:
    """Writes sbatch, srun and scancel into the folder; returns the file of notes."""
    place.mkdir()
    notes = place / "notes.txt"
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("scancel", NOTE)):
        text = text.format(notes=notes, place=place) if name != "srun" else text
        (place / name).write_text(text)
        os.chmod(place / name, stat.S_IRWXU)
    return notes
