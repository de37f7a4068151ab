#!/usr/bin/env bash
#SBATCH --job-name=sweep
#SBATCH --array=1-16
#SBATCH --cpus-per-task=4
#SBATCH --mem=1G
#SBATCH --time=01:00:00
#SBATCH --requeue
# mkdir -p results
# sweep=$(sbatch --parsable slurm.sh)
# sbatch --dependency=afterok:$sweep --wrap 'tokentide merge "results/part-*.parquet" -o results/all.parquet'
exec tokentide sweep sweep.toml --shard auto -o 'results/part-{shard}.parquet'
