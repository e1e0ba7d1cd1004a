// Deliberate faults for the proof that the explorer finds faults: tests build the model once more
// with MTD_SEEDED_FAULTS, and a run of it has the one that it was asked for. In the product the
// constant is `none`, and the compiler leaves nothing of them.
#pragma once

namespace mtd::task {

enum class SeededFault {
  none,
  late_answer_accepted,    // an answer counts whatever attempt it is of
  sent_before_commit,      // a worker hears of a task whose claim is not on record
  accepted_before_commit,  // a client hears of a put that is not on record
  crashes_not_counted,     // a task that kills its workers is repeated for ever
  stop_counts_as_crash,    // mtd's own stop of a worker is held against its task
  credit_ignored,          // one task more than the worker asked for
  limit_ignored,           // one task more than a worker may have in its life
  drain_gives_more,        // a worker that drains is given tasks
  lost_claim_forgotten,    // a worker dies while a task is claimed for it, and the task stays
  cancel_of_claim_lost,    // a cancel while the claim is under way does nothing
  timeout_without_kill,    // a worker that ignores its time-out keeps the task for ever
  stalled_answer_dropped,  // a store without room loses an answer
  give_back_to_the_end,    // a task that nobody heard of loses its place
  expired_while_running,   // what has begun in time is ended by its expiry
  retry_before_commit,     // a failed task is given out before its failure is on record
  orphan_kept,             // after a restart a task stays with a worker that is not there
  closed_worker_kept,      // a worker that closed its socket keeps its task for ever
  full_store_stands,       // what once found no room waits until there is room for new tasks
};

#ifdef MTD_SEEDED_FAULTS
extern const SeededFault kSeededFault;  // tests/explore: what the environment names
#else
inline constexpr SeededFault kSeededFault = SeededFault::none;
#endif

}  // namespace mtd::task
