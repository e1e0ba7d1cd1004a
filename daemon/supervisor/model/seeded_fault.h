// Deliberate faults for the proof that the explorer and the simulation find faults: tests build the
// model once more with MTD_SEEDED_FAULTS, and a run of it has the one that it was asked for. In the
// product the constant is `none`, and the compiler leaves nothing of them.
#pragma once

namespace mtd::model {

enum class SeededFault {
  none,
  accept_stale_facts,          // a fact is applied to the newest incarnation, whatever it names
  spawn_while_stopped,         // a back-off that ends forgets to look at what is wanted
  planned_counts_as_crash,     // a planned exit reaches the breaker
  no_wait_for_tree,            // a process is forgotten when its main process has exited
  stop_without_deadline,       // a stopping process is never killed
  two_replacements,            // a draining process does not count against the limit of two
  signal_before_spawned,       // a stop during a spawn signals what is not there yet
  deadline_left_behind,        // what is due exactly now is left for later
  exit_published_twice,        // a second report of the same exit is believed
  breaker_ignored,             // an open breaker lets restarts through
  thaw_forgotten,              // a stop leaves a frozen process frozen
  left_over_survives_timeout,  // the deadline of a tree without main process does nothing
  deadline_begins_anew,        // a stop in progress gets its whole time again from the next life
  stop_first,                  // a roll-out stops a process before its replacement is ready
  pause_ignored,               // a paused roll-out goes on
  half_way_stays,              // a failed roll-out leaves the pool in pieces
  probe_asked_twice,           // a probe is made again while the last one is under way
  watchdog_not_armed,          // a worker that is ready is not watched
  unready_serves,              // a worker whose ready probe failed counts as ready
  recycled_below_floor,        // without overlap a worker is recycled while others are missing
  steps_left_out,              // a stop kills at the end of its first step
  admitted_unmet,              // a pool is started though what it depends on is not there
  stopped_while_needed,        // a pool is stopped before what needs it
  busy_worker_ended,           // a pool that shrinks looks at no worker's activity
  quiet_time_ignored,          // what is not needed now is ended at once
  growth_without_grant,        // a dynamic pool grows though it was not granted
  failed_command_ignored,      // a stop command that failed is taken for a signal that was sent
  busy_taken_for_idle,         // a worker is recycled as idle while it works
};

#ifdef MTD_SEEDED_FAULTS
extern const SeededFault kSeededFault;  // tests/explore: what the environment names
#else
inline constexpr SeededFault kSeededFault = SeededFault::none;
#endif

}  // namespace mtd::model
