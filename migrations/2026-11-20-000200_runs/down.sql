DROP FUNCTION retry_run, cancel_run, lock_run_tree, close_run, close_runs, hold_runs, release_parents;
DROP TABLE run_logs, run_attempts, runs, workers, queues;
DROP FUNCTION runs_guard;
