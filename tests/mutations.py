"""What the tests of faults are worth: each guard is taken out in turn, and the test of its fault must fail then.

python -m tests.mutations [NAME ...]     in a copy of the checkout; without names all of them, which takes an hour
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_SECONDS = 200  # of a test with the launches that it has started: without a guard some never end
NEVER_ENDS_SECONDS = 900  # nor do some tests, once they have failed: a thread of theirs goes on


@dataclass(frozen=True)
class Mutation:
    """A guard, and the test that must fail without it."""

    fault: str  # as docs/faults.md words it
    file: str
    guard: str  # stands once in the file
    without: str
    test: str

    def apply(self, root: Path) -> None:
        """Takes the guard out of a checkout. Raises ValueError where it is not there as it was."""
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.guard) != 1:
            raise ValueError(f"{self.file} has {text.count(self.guard)} times, not once: {self.guard}")
        path.write_text(text.replace(self.guard, self.without), encoding="utf-8")


RAY, MISHAPS = "tests/sweeper/launch/test_ray.py::test_", "tests/sweeper/launch/test_mishaps.py::test_"
CLAIMS, STORE = "tests/sweeper/storage/test_claims.py::test_", "tests/sweeper/records/test_store.py::test_"
BUCKET = "tests/sweeper/launch/test_bucket_launches.py::test_"
OBJECTS = "tests/sweeper/records/test_bucket_store.py::test_"
INDEX = "tests/sweeper/records/test_index.py::test_"
PLACES = "tests/sweeper/storage/test_places.py::test_"
CODE = "tests/sweeper/launch/test_whose_code.py::test_"
AROUND = f"{CODE}workers_run_the_drivers_packages_wherever_they_start_and_whatever_the_path"
VERSIONS = "tests/sweeper/search/test_spec_versions.py::test_"
BROKEN = "tests/sweeper/launch/test_broken_processes.py::test_"
GROWING = "tests/sweeper/launch/cluster/test_growing.py::test_"
NODES = "tests/sweeper/launch/cluster/test_nodes.py::test_"
WORKERS = "tests/sweeper/launch/cluster/test_workforce.py::test_"
JOINS = f"{GROWING}a_node_that_joins_is_used_and_one_that_is_told_to_go_loses_nothing"
ASKED = f"{GROWING}nodes_that_die_or_lack_something_when_asked_are_left_out_and_told"
HANGS = f"{RAY}a_worker_that_hangs_and_a_node_that_goes_cost_epochs_and_nothing_else"
IMAGES = "tests/sweeper/cli/test_damaged_images.py::test_"
MEMORY = f"{MISHAPS}memory_that_runs_out_not_a_number_and_bugs_end_their_own_trials_only"
DISK = f"{MISHAPS}a_disk_that_is_full_or_read_only_loses_nothing_and_is_named"
TOGETHER = f"{CLAIMS}two_sweeps_that_share_stages_train_each_once_at_the_same_time_and_one_sweep_is_launched_once"
OUTAGE = (
    "tests/sweeper/tracking/test_outage.py::"
    "test_a_server_that_comes_late_and_dies_delays_no_trial_and_shows_all_in_the_end"
)

MUTATIONS = {
    "launch_killed": Mutation(
        "the launch is SIGKILLed, again and again",
        "sweeper/launch/orphans.py",
        "os.kill(pid, signal.SIGKILL)",
        "os.kill(pid, 0)",
        f"{RAY}killing_the_launch_again_and_again_loses_nothing_that_was_finished",
    ),
    "launch_stopped": Mutation(
        "the launch is stopped, by `sweeper stop` or Ctrl-C",
        "sweeper/launch/ray_worker.py",
        "self._worker.save()",
        "pass",
        "tests/sweeper/cli/test_stop.py::test_stop_and_resume_on_ray",
    ),
    "launch_stopped_on_a_busy_machine": Mutation(
        "the same, where saving takes longer than the 5 s in which Tune ends its workers",
        "sweeper/launch/cluster/workforce.py",
        "_save(worker)\n",
        "pass\n",
        "tests/sweeper/launch/cluster/test_workforce.py::"
        "test_what_trains_as_the_launch_stops_is_saved_before_tune_ends_its_worker",
    ),
    "launch_told_to_end": Mutation(
        "the launch is told to end (SIGTERM to all, as when a machine shuts down)",
        "sweeper/cli/signals.py",
        "tell(number[0])",
        "pass",
        f"{RAY}a_launch_that_is_told_to_end_saves_what_runs_and_leaves_nothing_behind",
    ),
    "launch_told_to_end_while_stuck": Mutation(
        "the same, while it waits for Ray's servers, which were told too",
        "sweeper/cli/signals.py",
        "            if number[0] in numbers:\n                tell(number[0])",
        "            if number[0] in numbers and handled:\n                tell(number[0])",
        "tests/sweeper/cli/test_signals.py::"
        "test_a_launch_that_is_told_to_end_while_it_is_stuck_stops_and_says_so",
    ),
    "two_new_databases": Mutation(
        "two launches begin in a new storage at the same time",
        "sweeper/storage/tracking_file.py",
        "fcntl.flock(folder, fcntl.LOCK_EX)",
        "pass",
        "tests/sweeper/tracking/test_opened_at_once.py::"
        "test_launches_that_open_a_new_tracking_file_at_once_all_find_its_tables",
    ),
    "slow_node": Mutation(
        "the machine is so busy that a node of Ray takes longer than Ray's 30 s to come up",
        "sweeper/launch/ray_session.py",
        "services.get_node = until_it_is_there",
        "pass",
        "tests/sweeper/launch/test_slow_node.py::test_a_launch_waits_for_a_node_of_ray_that_is_slow_to_come_up",
    ),
    "slow_agents": Mutation(
        "the same of the helpers that a node of Ray starts",
        "sweeper/launch/ray_session.py",
        '"RAY_agent_register_timeout_ms": str(round(1000 * START_SECONDS)),',
        "",
        "tests/sweeper/launch/test_slow_node.py::test_a_node_waits_as_long_for_processes_of_its_own",
    ),
    "no_forked_workers": Mutation(
        "the process that a launch's own workers are forked from is killed",
        "sweeper/launch/own_ray/ask_for_worker.py",
        "    if worker is None or not _lives(path, worker):\n",
        "    if worker is None or (_lives(path, worker) and False):\n",
        "tests/sweeper/launch/test_own_ray.py::"
        "test_a_forked_worker_is_as_one_that_was_started_and_who_asked_ends_with_it",
    ),
    "ray_does_not_let_go": Mutation(
        "Ray's servers die at the very end",
        "sweeper/launch/ray_session.py",
        "stuck.start()",
        "pass",
        f"{RAY}a_launch_whose_ray_dies_at_the_very_end_says_what_it_has_done_and_ends",
    ),
    "worker_killed": Mutation(
        "a worker is SIGKILLed in mid-epoch",
        "sweeper/launch/worker.py",
        "partial = self._store.read_partial(stage.key, stage.start)",
        "partial = None",
        f"{RAY}a_killed_worker_is_replaced_and_goes_on_from_its_last_saved_epoch",
    ),
    "another_checkout": Mutation(
        "the launch is started in another checkout of this project, or with one on `PYTHONPATH`",
        "sweeper/launch/ray_worker.py",
        "sys.meta_path.insert(0, DriversPackages(driver.folders))",
        "pass",
        AROUND,
    ),
    "namesakes": Mutation(
        "the launch is started in a folder with a `trainers.py`",
        "sweeper/launch/ray_worker.py",
        "        del sys.path[0]  # Ray puts",
        "        pass  # Ray puts",
        AROUND,
    ),
    "edited_while_it_trains": Mutation(
        "the checkout is edited while a launch trains from it",
        "sweeper/launch/ray_worker.py",
        "if self._refused:\n            return {",
        "if False:\n            return {",
        f"{CODE}a_worker_with_other_sources_than_the_driver_is_refused_with_both_paths",
    ),
    "node_with_other_code": Mutation(
        "a node of the Ray cluster has another version of the code",
        "sweeper/launch/ray_worker.py",
        "    if difference:\n        return [difference]",
        "    if False:\n        return [difference]",
        f"{CODE}a_node_with_other_sources_than_the_driver_is_refused_before_anything_starts",
    ),
    "edited_between_launches": Mutation(
        "`trainers/` is edited between launches",
        "sweeper/stages/points.py",
        'apart = {"sources": sources} if sources else {}',
        "apart: dict[str, str] = {}",
        "tests/sweeper/stages/test_sources_apart.py::"
        "test_results_of_edited_sources_and_those_of_before_are_both_kept_and_apart",
    ),
    "last_words": Mutation(
        "a worker dies of something that it says, or does not start",
        "sweeper/launch/ray_tune.py",
        "last_words=last_words(said)",
        'last_words=""',
        f"{CODE}the_last_words_of_a_worker_that_dies_are_in_the_summary",
    ),
    "worker_hangs": Mutation(
        "a worker hangs (stopped by SIGSTOP)",
        "sweeper/launch/cluster/workforce.py",
        "ray.kill(worker.actor)",
        "pass",
        HANGS,
    ),
    "node_gone": Mutation(
        "a node of the Ray cluster is gone",
        "sweeper/launch/ray_tune.py",
        "Failure(Fault.INFRASTRUCTURE, reason",
        "Failure(Fault.BUG, reason",
        HANGS,
    ),
    "context_broken": Mutation(
        "the CUDA context of a worker breaks (an illegal access, a device assert)",
        "sweeper/launch/ray_worker.py",
        "self._ends = step.failure is not None and step.failure.ends_its_process",
        "self._ends = False",
        f"{BROKEN}a_process_whose_device_broke_trains_nothing_more",
    ),
    "node_keeps_failing": Mutation(
        "a node keeps failing its stages, and there are others",
        "sweeper/launch/ray_worker.py",
        "if left_out else {}",
        "if False else {}",
        f"{BROKEN}a_node_that_keeps_failing_gets_no_more_stages_and_is_told",
    ),
    "node_without_cuda": Mutation(
        "a node of the cluster does not answer, or its GPU does not start, and there are others",
        "sweeper/launch/ray_nodes.py",
        "unfit[node] = answer[0]",
        "pass",
        f"{BROKEN}a_node_whose_gpu_does_not_start_is_left_out_and_told",
    ),
    "node_joins": Mutation(
        "a node joins a cluster in mid-sweep",
        "sweeper/launch/cluster/nodes.py",
        "now - self._looked_at < LOOK_SECONDS",
        "True",
        JOINS,
    ),
    "node_drains": Mutation(
        "a node is told to go (preempted, or SIGTERM to `ray start --block`)",
        "sweeper/launch/cluster/workforce.py",
        "            elif self.nodes.is_leaving(worker.node):\n                self._dismiss(worker)\n",
        "",
        f"{WORKERS}what_trains_on_a_node_that_is_about_to_go_is_saved_and_goes_back",
    ),
    "node_dies_when_asked": Mutation(
        "a node dies while it is asked what it lacks",
        "sweeper/launch/ray_nodes.py",
        "if node not in alive or _is_gone(there[node], error)",
        "if False",
        ASKED,
    ),
    "late_node_lacks_something": Mutation(
        "a node that joins later lacks the data, the code or a GPU that starts",
        "sweeper/launch/cluster/workforce.py",
        "elif self.nodes.needs_to_be_asked(worker.node):",
        "elif False:",
        ASKED,
    ),
    "no_node_yet": Mutation(
        "no node holds a trial: none has come yet, or all are gone",
        "sweeper/launch/cluster/nodes.py",
        "if now - self._nothing_since >= patience and not self.launch.stop_requested:",
        "if False:",
        f"{NODES}waiting_for_a_node_is_told_with_its_reason_and_has_an_end",
    ),
    "autoscaler": Mutation(
        "a cluster that an autoscaler grows has no node yet",
        "sweeper/launch/cluster/nodes.py",
        "wanted = max(self.slots(), self.scaling.scale_to or 1)",
        "wanted = self.slots()",
        f"{GROWING}an_autoscaler_brings_nodes_to_a_sweep_that_starts_with_none",
    ),
    "node_unreachable": Mutation(
        "a node does not answer any more (its network, its machine)",
        "sweeper/launch/cluster/workforce.py",
        "if not self.nodes.answers(worker.node):",
        "if False:",
        f"{WORKERS}workers_on_a_node_that_does_not_answer_are_killed_their_stages_go_back",
    ),
    "deaths_without_progress": Mutation(
        "workers die again and again, each time some epochs later",
        "sweeper/launch/launch.py",
        "came_further=saved > before",
        "came_further=False",
        f"{WORKERS}a_stage_is_given_up_after_three_deaths_with_no_further_epoch_saved",
    ),
    "standstill": Mutation(
        "nothing moves",
        "sweeper/cli/progress.py",
        "if self.still and self.epochs_left:",
        "if False:",
        "tests/sweeper/cli/test_still.py::test_while_it_waits_the_display_says_since_when_and_for_what",
    ),
    "gpus_that_do_not_start": Mutation(
        "GPUs of this machine are counted, and CUDA does not start them",
        "sweeper/planning/foresight.py",
        "except (RuntimeError, AssertionError) as error:",
        "except ZeroDivisionError as error:",
        "tests/sweeper/planning/test_plan.py::test_gpus_that_are_counted_and_do_not_start_are_told",
    ),
    "words_of_cuda": Mutation(
        "a library of CUDA says that memory, a driver or a device fails",
        "sweeper/stages/faults.py",
        "return _fault_said(text) if isinstance(error, RuntimeError) else Fault.BUG",
        "return Fault.BUG",
        "tests/sweeper/stages/test_faults.py::"
        "test_an_exception_is_of_the_class_that_says_whether_trying_again_helps",
    ),
    "out_of_memory": Mutation(
        "a worker runs out of memory",
        "sweeper/stages/schedule.py",
        "if failure.fault.retried_at_once is Retry.ALONE and key not in self._tried_alone:",
        "if False:",
        MEMORY,
    ),
    "machine_low_on_memory": Mutation(
        "a worker is killed because its machine runs low on memory (by Ray's watch over it)",
        "sweeper/launch/ray_tune.py",
        "or (error is None and LOW_ON_MEMORY in text)",
        "",
        f"{RAY}a_worker_killed_because_memory_runs_low_is_tried_once_more_alone",
    ),
    "not_a_number": Mutation(
        "the loss is not a number",
        "trainers/training.py",
        "if not math.isfinite(train.loss):",
        "if False:",
        MEMORY,
    ),
    "memory_of_nodes": Mutation(
        "one trial alone needs more memory than any node of a cluster has",
        "sweeper/launch/cluster/nodes.py",
        "if large and all(map(self._is_too_small, large))",
        "if False",
        f"{NODES}a_trial_that_fits_no_nodes_memory_is_refused_and_a_small_node_left_out",
    ),
    "token_refused": Mutation(
        "the token of a cluster is another, or there is none here",
        "sweeper/launch/ray_session.py",
        "return port.isdigit() and takes_connections(host, int(port))",
        "return False",
        "tests/sweeper/launch/cluster/test_refused.py::"
        "test_a_token_that_is_refused_or_missing_is_not_told_as_no_ray",
    ),
    "token_refused_at_once": Mutation(
        "the cluster took the token in `~/.ray/auth_token`, and the launch has not",
        "sweeper/launch/ray_session.py",
        "GcsClient(address=address)",
        "pass",
        "tests/sweeper/launch/cluster/test_refused.py::"
        "test_a_cluster_that_refuses_our_token_is_asked_once_and_not_for_minutes",
    ),
    "kernel_kills_a_worker": Mutation(
        "the kernel kills a worker of this machine because memory ran out",
        "sweeper/launch/cluster/kernel_kills.py",
        "self._count() <= self._seen",
        "self._count() >= self._seen",
        "tests/sweeper/launch/cluster/test_kernel_kills.py::"
        "test_a_worker_that_the_kernel_killed_ran_out_of_memory_and_others_did_not",
    ),
    "image_damaged": Mutation(
        "an image of a folder cannot be decoded",
        "sweeper/cli/commands/launch.py",
        "            _check_images(data_dir)\n",
        "            pass\n",
        f"{IMAGES}a_damaged_image_is_named_at_once_and_is_no_fault_to_be_tried_again",
    ),
    "data_damaged_meanwhile": Mutation(
        "an image, or another file of data, is damaged while a sweep runs",
        "sweeper/stages/faults.py",
        'if name == "DamagedData":',
        'if name == "":',
        f"{IMAGES}a_damaged_image_is_named_at_once_and_is_no_fault_to_be_tried_again",
    ),
    "exception": Mutation(
        "an exception in a method",
        "sweeper/launch/worker.py",
        "except Exception as error:  # the boundary",
        "except ArithmeticError as error:  # the boundary",
        MEMORY,
    ),
    "point_that_diverges": Mutation(
        "a point of a search diverges with one of its seeds",
        "sweeper/search/optuna_terms.py",
        "    if any(result.diverged for result in results):\n        return None\n",
        "",
        "tests/sweeper/search/test_optuna_study.py::"
        "test_tpe_learns_where_points_diverge_and_no_second_seed_of_such_a_point_begins",
    ),
    "epochs_in_flight": Mutation(
        "epochs take many times as long as estimated, under a limit of hours",
        "sweeper/search/admission.py",
        "self.account.exceeded(live + sum(in_flight), max(in_flight, default=0.0))",
        "self.account.exceeded(live)",
        "tests/sweeper/search/test_random_sweeps.py::"
        "test_hours_are_passed_by_one_epoch_at_most_however_wrong_estimates_are",
    ),
    "same_exception": Mutation(
        "the same exception in every stage",
        "sweeper/stages/schedule.py",
        "if count >= self.rule.same_bug_limit and count > self._finished:",
        "if False:",
        MEMORY,
    ),
    "tracking_down_at_the_start": Mutation(
        "the tracking server is down at the start, and comes back",
        "sweeper/tracking/tracker.py",
        "failures, self.problem = failures + 1, str(down)",
        "failures, self.problem = failures + 1, str(down)\n                return",
        OUTAGE,
    ),
    "tracking_stays_down": Mutation(
        "it stays down",
        "sweeper/cli/summary.py",
        "if behind or tracker.problem:",
        "if False:",
        "tests/sweeper/cli/test_cli.py::test_what_an_outage_kept_away_is_tracked_later",
    ),
    "tracking_killed": Mutation(
        "the tracking server is SIGKILLed in mid-sweep, and comes back",
        "sweeper/tracking/tracker.py",
        "if (last and (not self.problem or failures >= GIVE_UP_AFTER))",
        "if (last or failures >= 2)",
        OUTAGE,
    ),
    "postgresql_restarted": Mutation(
        "PostgreSQL behind the tracking server is restarted at once (`immediate`)",
        "sweeper/tracking/mlflow_client.py",
        "if isinstance(error, MlflowException | OSError)",
        'if "error responses" not in str(error) and isinstance(error, MlflowException | OSError)',
        OUTAGE,
    ),
    "disk_full": Mutation(
        "the disk is full while stages are written, and while failures are written down",
        "sweeper/launch/launch.py",
        "except StoreError:\n            self.saved.pop(key, None)  # the disk is full",
        "except KeyError:\n            self.saved.pop(key, None)  # the disk is full",
        DISK,
    ),
    "storage_read_only": Mutation(
        "the storage is read-only",
        "sweeper/storage/base.py",
        "raise fault from error",
        "raise",
        DISK,
    ),
    "record_cut_or_altered": Mutation(
        "a record is cut, altered, or half written",
        "sweeper/records/stage_record.py",
        "if not whole:",
        "if False:",
        f"{MISHAPS}records_cut_altered_or_half_written_are_told_set_aside_and_trained_again",
    ),
    "any_byte_changed": Mutation(
        "any byte of a record or state is changed, or it is cut anywhere",
        "sweeper/records/stage_record.py",
        " and sha256(text[: seal.start()] + seal[2]) == seal[1].decode()",
        "",
        f"{STORE}a_record_is_damaged_whichever_of_its_bytes_is_changed",
    ),
    "behind_the_index": Mutation(
        "a record is changed, deleted, half written, copied or moved since it was indexed",
        "sweeper/records/index.py",
        "tag and entry[0] == tag else None",
        "True else None",
        f"{INDEX}a_stage_changed_behind_the_index_is_seen_as_it_is",
    ),
    "index_damaged": Mutation(
        "the index of a sweep is lost, cut or altered",
        "sweeper/records/index.py",
        "if sha256(content).encode() != said:",
        "if False:",
        f"{INDEX}a_lost_or_damaged_index_is_made_anew",
    ),
    "index_full_disk": Mutation(
        "the index of a sweep cannot be written",
        "sweeper/records/index.py",
        "        with suppress(StoreError):\n",
        "        with suppress():\n",
        f"{INDEX}an_index_that_cannot_be_written_costs_nothing_but_time",
    ),
    "writer_killed": Mutation(
        "a writer is SIGKILLed at any of its system calls",
        "sweeper/records/store.py",
        "            draft.rename(folder)\n",
        "            folder.mkdir()\n            (draft / STATE).rename(folder / STATE)\n"
        "            (draft / RECORD).rename(folder / RECORD)\n",
        f"{STORE}a_writer_killed_at_any_moment_leaves_a_whole_stage_or_none",
    ),
    "damage_found_twice": Mutation(
        "two find the same damage while one of them mends it",
        "sweeper/storage/folder.py",
        "if identity(target) != seen:",
        "if False:",
        f"{STORE}a_good_one_written_while_another_finds_the_damage_too_is_not_set_aside",
    ),
    "launched_twice": Mutation(
        "the same sweep is launched twice at once",
        "sweeper/storage/locks.py",
        "        if not _locked(file):",
        "        if False:",
        TOGETHER,
    ),
    "two_sweeps_share": Mutation(
        "two sweeps that share stages run in one storage at once",
        "sweeper/launch/launch.py",
        "if not self.claims.take(stage.key):",
        "if False:",
        TOGETHER,
    ),
    "one_of_two_killed": Mutation(
        "one of two such launches is SIGKILLed",
        "sweeper/storage/claims.py",
        'lives = _born(int(process["pid"])) == str(process["born"])',
        "lives = True",
        f"{CLAIMS}what_a_killed_launch_was_training_another_one_takes_over_from_its_last_saved_epoch",
    ),
    "clock_jumps": Mutation(
        "the clock jumps a month back and a year ahead",
        "trainers/costs/meters.py",
        "return time.perf_counter",
        "return time.time",
        f"{MISHAPS}a_clock_that_jumps_changes_no_result_and_no_duration",
    ),
    "clocks_differ": Mutation(
        "the clocks of two machines differ",
        "sweeper/storage/claims.py",
        "return self.clock() - since < PATIENCE_SECONDS",
        "return time.time() - int(touched) / 1e9 < PATIENCE_SECONDS",
        f"{CLAIMS}the_claim_of_another_machine_holds_as_long_as_its_owner_touches_it_whatever_the_clocks_say",
    ),
    "bucket_gone": Mutation(
        "in a bucket: the launch is SIGKILLed, then its service is gone for a while",
        "sweeper/storage/service.py",
        '"retry_timeout": patience,',
        '"retry_timeout": timedelta(seconds=0.1),',
        f"{BUCKET}a_killed_launch_on_ray_and_a_service_that_goes_away_cost_nothing_finished",
    ),
    "bucket_launched_twice": Mutation(
        "in a bucket: two sweeps that share stages at once, and one of them twice",
        "sweeper/storage/locks.py",
        "while not self._claims.take(WHOLE):",
        "while False:",
        f"{BUCKET}two_sweeps_that_share_stages_train_each_once_and_one_sweep_is_launched_once",
    ),
    "bucket_unnamed_holder": Mutation(
        "the same in the instant before the first has said who it is",
        "sweeper/storage/locks.py",
        "if lives and (self.note is None or self.holder() or looks >= NAMELESS_LOOKS):",
        "if lives:",
        "tests/sweeper/storage/test_locks.py::test_who_finds_a_lock_taken_hears_by_whom_however_soon_it_asks",
    ),
    "bucket_search_killed": Mutation(
        "in a bucket: the launch of a search is SIGKILLed",
        "sweeper/search/optuna_journal.py",
        "        self._log.append(json.dumps(logs",
        "        self._log._read.append(json.dumps(logs",
        f"{BUCKET}a_search_goes_on_where_a_killed_launch_left_it",
    ),
    "bucket_breaks_promises": Mutation(
        "a bucket that does not exist, keys that are not taken, nobody at the endpoint, "
        "a service that ignores conditions",
        "sweeper/records/bucket_store.py",
        "check_promises(impatient(self.bucket))",
        "pass",
        f"{OBJECTS}a_service_that_lets_two_create_the_same_object_is_refused_before_anything_starts",
    ),
    "bucket_damaged": Mutation(
        "a record or state in a bucket is cut, altered, gone",
        "sweeper/records/bucket_store.py",
        "if read is not None and sha256(read[0]) == file.sha256:",
        "if read is not None:",
        f"{OBJECTS}whatever_is_damaged_is_set_aside_told_and_written_again",
    ),
    "storage_copied": Mutation(
        "a storage is copied, and its copy is used",
        "sweeper/storage/tracking_address.py",
        "return default_address(storage) if lay_in_it else kept",
        "return kept",
        f"{PLACES}a_copied_storage_goes_on_by_itself_and_leaves_the_original_alone",
    ),
    "storage_moved": Mutation(
        "a storage is moved",
        "sweeper/storage/tracking_address.py",
        "if own and file_of(address).is_file():",
        "if False:",
        f"{PLACES}a_moved_storage_works_where_it_lies_and_the_old_folder_stays_gone",
    ),
    "database_gone": Mutation(
        "the folder of a database given with `--tracking` is gone",
        "sweeper/cli/commands/mlflow.py",
        "if is_file(view.file.tracking):",
        "if False:",
        f"{PLACES}a_database_that_the_user_names_elsewhere_stays_the_one",
    ),
    "database_relative": Mutation(
        "a database given by a relative path, and the next command runs in another folder",
        "sweeper/storage/tracking_address.py",
        "Path(name).expanduser().absolute()",
        "Path(name).expanduser()",
        f"{PLACES}a_relative_database_is_one_file_wherever_one_stands",
    ),
    "odd_names": Mutation(
        "folders are named with characters that mean something in addresses",
        "sweeper/storage/tracking_file.py",
        'return f"sqlite+pysqlite:///{quote(path)}"',
        "return address",
        f"{PLACES}folders_whose_names_mean_something_in_addresses_are_folders",
    ),
    "triton_cannot_compile": Mutation(
        "Triton cannot compile on a machine with a GPU (no C compiler, no `Python.h`)",
        "trainers/kernels/torch_kernels.py",
        "if reason := triton_kernels.why_not(device):",
        'if reason := "":',
        "tests/trainers/kernels/test_triton_kernels.py::"
        "test_where_triton_cannot_compile_torch_selects_and_one_warning_says_so",
    ),
    "another_order": Mutation(
        "a network on a GPU is turned to `channels_last`, and its connections are numbered in another order",
        "trainers/kernels/options.py",
        "if not all(tensor.is_contiguous() for tensor in tensors):",
        "if False:",
        "tests/trainers/kernels/test_interpreted_selection.py::"
        "test_kernels_refuse_weights_that_lie_in_another_order",
    ),
    "other_spec": Mutation(
        "another spec is launched under the name of a sweep",
        "reports/tracked/runs.py",
        "shown = shown_version(sweep.name, sweep.tags, version)",
        "shown = ALL",
        f"{VERSIONS}a_report_averages_the_present_version_alone",
    ),
    "gc_of_versions": Mutation(
        "the same, and then `gc --delete`",
        "sweeper/sweeps/references.py",
        "self.earlier |= stages_of_other_versions(view)",
        "pass",
        f"{VERSIONS}gc_keeps_what_only_an_earlier_version_refers_to_until_it_is_told",
    ),
    "rename_killed": Mutation(
        "a `rename` is SIGKILLed anywhere",
        "sweeper/sweeps/rename.py",
        "begun = _begun(new) == old",
        "begun = False",
        "tests/sweeper/sweeps/test_rename.py::test_a_rename_that_is_killed_anywhere_is_finished_by_the_same_again",
    ),
    "delete_killed": Mutation(
        "a `delete` is SIGKILLed anywhere",
        "sweeper/tracking/experiment.py",
        'if experiment is None or experiment.lifecycle_stage != "active":\n            return False',
        "if experiment is None:\n            return False",
        "tests/sweeper/sweeps/test_delete.py::test_a_delete_that_is_killed_anywhere_is_finished_by_the_same_again",
    ),
    "sweep_file": Mutation(
        "a file of a whole sweep is cut or altered",
        "sweeper/sweeps/archive.py",
        "if fault or sha256(content) != state.sha256:",
        "if fault:",
        "tests/sweeper/sweeps/test_archive.py::test_hashes_that_agree_do_not_hide_what_is_not_so",
    ),
    "second_ctrl_c": Mutation(
        "Ctrl-C a second time",
        "sweeper/cli/running.py",
        "                return self._end_at_once()",
        "                raise",
        "tests/sweeper/cli/test_outputs.py::test_the_second_ctrl_c_still_says_how_to_go_on",
    ),
    "broken_files": Mutation(
        "MLflow's database is damaged, cut, of another version, another program's, locked; `sweep.json`, "
        "a spec or the list of versions is garbage or of a newer version; the storage is a file",
        "sweeper/records/sweep_folder.py",
        '        raise InvalidInput(explain(error, named.values(), f"sweep: cannot read {path}: ")) from None',
        "        raise",
        "tests/sweeper/cli/test_surroundings.py::"
        "test_a_sweep_that_cannot_be_read_is_named_and_the_others_are_shown",
    ),
    "variables": Mutation(
        "`RAY_ADDRESS` or `MLFLOW_TRACKING_URI` holds what is none of ours",
        "sweeper/cli/values.py",
        '    if text != "auto" and not (found and 1 <= int(found[2]) <= 65_535):',
        "    if not text:",
        "tests/sweeper/cli/test_variables.py::"
        "test_a_ray_address_of_another_kind_is_named_with_its_variable",
    ),
    "unthought_of": Mutation(
        "a command fails in a way that nobody thought of",
        "sweeper/cli/main.py",
        "        return _tell_of_bug(error, words)",
        "        raise",
        "tests/sweeper/cli/test_surroundings.py::"
        "test_what_nobody_thought_of_ends_in_lines_and_a_file_to_report",
    ),
    "proxy": Mutation(
        "a proxy is set, and the server is on this machine",
        "sweeper/cli/main.py",
        "        reach_this_machine_directly(os.environ)",
        "        pass",
        "tests/sweeper/cli/test_variables.py::"
        "test_a_proxy_does_not_stand_between_us_and_this_machine",
    ),
    "users_notes": Mutation(
        "a user writes notes in MLflow's UI; a text is too long for a tag of MLflow's",
        "sweeper/tracking/ui_view.py",
        "    if there and there != tags.get(OURS):",
        "    if there is None:",
        "tests/sweeper/tracking/test_notes.py::"
        "test_what_a_user_wrote_stays_and_what_we_wrote_follows_the_spec",
    ),
    "one_unreadable_sweep": Mutation(
        "one sweep's files cannot be read (a newer version, an editor)",
        "sweeper/cli/commands/status.py",
        "            if in_detail:\n                raise",
        "            raise",
        "tests/sweeper/cli/test_surroundings.py::"
        "test_a_sweep_that_cannot_be_read_is_named_and_the_others_are_shown",
    ),
    "too_large": Mutation(
        "one trial alone needs more memory than the machine, or its GPU, has",
        "sweeper/cli/commands/launch.py",
        "            if not (elsewhere or options.despite_memory):",
        "            if elsewhere and options.despite_memory:",
        "tests/sweeper/cli/test_memory.py::test_a_launch_that_no_memory_here_could_hold_is_refused",
    ),
    "plugin_agreed": Mutation(
        "a spec names a plug-in that its user has not agreed to",
        "sweeper/cli/plugins/agreed.py",
        "    elif not may_ask(yes):",
        "    elif yes:",
        "tests/sweeper/plugins/test_plugins.py::test_nothing_of_a_plugin_runs_before_its_user_agreed",
    ),
    "plugin_checked": Mutation(
        "a plug-in breaks a rule: its randomness, its state, the whole process",
        "sweeper/plugins/checking.py",
        "    if done.returncode:",
        "    if done.returncode == WRONG + 1:",
        "tests/sweeper/plugins/test_plugins.py::"
        "test_a_method_that_breaks_a_rule_is_refused_before_anything_is_planned",
    ),
    "plugin_data_set": Mutation(
        "a data set of a plug-in draws afresh, or is not what it states",
        "trainers/checks.py",
        '    with _global_state_kept(broken, "the reader"):',
        '    with __import__("contextlib").nullcontext():',
        "tests/sweeper/plugins/test_examples.py::"
        "test_a_data_set_that_draws_afresh_is_refused_before_anything_is_planned",
    ),
    "plugin_cost": Mutation(
        "a cost of a plug-in is no finite number",
        "trainers/costs/plugged.py",
        "    if not math.isfinite(amount):\n",
        "    if False:\n",
        "tests/sweeper/plugins/test_costs.py::test_a_cost_that_cannot_be_had_fails_its_trial_and_says_where",
    ),
    "plugin_damaged": Mutation(
        "a plug-in in the storage is damaged, or was changed there",
        "sweeper/plugins/stored.py",
        "    if folder.digest != digest:",
        "    if not folder.files:",
        "tests/sweeper/plugins/test_plugins.py::"
        "test_what_was_stopped_goes_on_elsewhere_with_the_kept_code",
    ),
    "full_output": Mutation(
        "the output is full (`/dev/full`, a log on a full disk), or its terminal is gone",
        "sweeper/cli/main.py",
        "        except OSError as error:  # a full disk, a terminal that was closed",
        "        except BlockingIOError as error:",
        "tests/sweeper/cli/test_outputs.py::"
        "test_a_launch_whose_output_is_full_trains_all_and_says_so",
    ),
    "other_encoding": Mutation(
        "the output is not UTF-8, or a name is no text",
        "sweeper/cli/main.py",
        '        stream.reconfigure(errors="sweeper")',
        "        pass",
        "tests/sweeper/cli/test_outputs.py::test_an_output_of_another_encoding_gets_plain_letters",
    ),
    "closed_terminal": Mutation(
        "the terminal of a launch is closed (SIGHUP)",
        "sweeper/cli/signals.py",
        "        handled += number != signal.SIGHUP",
        "        handled += 1",
        "tests/sweeper/cli/test_outputs.py::"
        "test_a_terminal_that_is_closed_stops_a_launch_as_ctrl_c_does",
    ),
    "folder_gone": Mutation(
        "the working folder is gone",
        "sweeper/cli/main.py",
        "        _check_folder()",
        "        pass",
        "tests/sweeper/cli/test_outputs.py::test_a_folder_that_is_gone_is_told",
    ),
}  # fmt: skip


def copy_checkout(to: Path) -> None:
    """All that git knows of or would take in, and nothing else."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)


def run_test(root: Path, test: str) -> tuple[str, str]:
    """`passes`, `fails`, `skips`, `hangs` or `errs`, and how it did."""
    variables = {**os.environ, "PYTHONPATH": str(root), "SWEEPER_TEST_PATIENCE": str(PATIENCE_SECONDS)}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-rs", "-p", "no:cacheprovider", test],
            cwd=root, env=variables, capture_output=True, text=True, timeout=NEVER_ENDS_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "hangs", f"it did not end in {NEVER_ENDS_SECONDS} s"
    lines = done.stdout.splitlines() or done.stderr.splitlines() or [""]
    if done.returncode == 0:
        return ("skips" if "skipped" in lines[-1] and "passed" not in lines[-1] else "passes"), lines[-1]
    how = [line[1:].strip() for line in lines if re.match(r"E\s+\S", line)]
    return ("fails", how[0][:160]) if done.returncode == 1 and how else ("errs", lines[-1])


def check(mutation: Mutation, folder: Path, known: dict[str, tuple[str, str]]) -> tuple[bool, str]:
    """Whether the test passes with the guard and fails without it, and how."""
    if mutation.test not in known:
        known[mutation.test] = run_test(folder, mutation.test)
    verdict, how = known[mutation.test]
    if verdict != "passes":
        return False, f"{verdict} with the guard: {how}"
    path = folder / mutation.file
    before = path.read_bytes()
    mutation.apply(folder)
    try:
        verdict, how = run_test(folder, mutation.test)
    finally:
        path.write_bytes(before)
    return verdict == "fails", f"{verdict} without it: {how}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MUTATIONS)}")
    names = parser.parse_args().names or list(MUTATIONS)
    if unknown := [name for name in names if name not in MUTATIONS]:
        parser.error(f"{', '.join(unknown)}: not one of {', '.join(MUTATIONS)}")
    bad, known = 0, {}
    with tempfile.TemporaryDirectory(prefix="mutations-") as temporary:
        folder = Path(temporary)
        copy_checkout(folder)
        for name in names:
            good, how = check(MUTATIONS[name], folder, known)
            bad += not good
            print(f"{'ok ' if good else 'BAD'} {name}: {how}", flush=True)
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
