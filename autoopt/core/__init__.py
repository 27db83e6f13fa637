"""The words of the project as plain values: standard library only, imported by everything else."""
