#!/bin/bash
# A Ray cluster for as long as a Slurm job lasts: sbatch docs/examples/slurm.sh. Then, from the login node:
#   sweeper launch SPEC --cluster http://HEAD:8265 --storage /shared/sweeps --data-dir /shared/data
#SBATCH --job-name=ray
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-task=4
#SBATCH --mem=64G
#SBATCH --time=24:00:00
set -euo pipefail

# The same environment on every node, with this project and its extra `cluster` in it, and a file that only you can
# read, with the token: (umask 077; openssl rand -hex 32 > ~/ray-token)
source /shared/sweeper/.venv/bin/activate
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$HOME/ray-token RAY_USAGE_STATS_ENABLED=0
# The driver of a sweep runs on the head: it writes MLflow, whose password it finds in a file of yours like this one.
source "$HOME/mlflow-environment" # MLFLOW_TRACKING_URI, MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD

# A machine that is gone is dead after 20 s; by default Ray takes a minute to say so.
export RAY_health_check_period_ms=1000 RAY_health_check_timeout_ms=5000 RAY_health_check_failure_threshold=4

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
echo "Dashboard: http://$head:8265"
share="--num-cpus=$SLURM_CPUS_PER_TASK --num-gpus=${SLURM_GPUS_ON_NODE:-0} --object-store-memory=100000000"

srun --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --block --port=6379 --dashboard-host=0.0.0.0 --disable-usage-stats $share &
sleep 20
# A node that falls out and comes back joins again.
srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --exclude="$head" \
    bash -c "while :; do ray start --block --address=$head:6379 $share; sleep 5; done" &
wait -n
