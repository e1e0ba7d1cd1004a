// Turn: one step of a pool. Applies one event, then lets deadlines fire and slots reconcile until
// nothing is left to do now. It touches the slots an event concerns and no others, so that a step's
// cost does not grow with the pool (commands to a whole pool excepted).
//
// The files: turn.cpp (order of a step), facts.cpp, exits_apply.cpp, commands.cpp, reconfigure.cpp
// (events); health.cpp, limits.cpp (watching what runs); reconcile.cpp, replace.cpp (wanted against
// actual); stop.cpp (ending processes); breaker_apply.cpp; scaling.cpp (dynamic pools).
#pragma once

#include "common/entropy.h"
#include "daemon/supervisor/model/exits.h"
#include "daemon/supervisor/model/state.h"

namespace mtd::model {

class Turn {
 public:
  Turn(Pool::State& state, Instant now, std::uint64_t entropy)
      : state_(state), now_(now), entropy_(entropy) {}

  [[nodiscard]] std::vector<Action> run(const Event& event);

 private:
  // Facts
  void apply(const Tick&) {}
  void apply(const Spawned& fact);
  void apply(const Executed& fact);
  void apply(const SpawnRefused& fact);
  void apply(const Exited& fact);
  void apply(const TreeEmpty& fact);
  void apply(const NotifiedReady& fact);
  void apply(const NotifiedStopping& fact);
  void apply(const NotifiedExtension& fact);
  void apply(const NotifiedAlive& fact);
  void apply(const WatchdogChanged& fact);
  void apply(const TasksDone& fact);
  void apply(const MemoryUsed& fact);
  void apply(const Probed& fact);
  void apply(const Condemned& fact);
  void apply(const StopCommandFailed& fact);
  void apply(const BusyChanged& fact);
  void apply(const Demand& fact);
  void apply(const Adopted& fact);
  // Commands
  void apply(const StartCommand& command);
  void apply(const StopCommand& command);
  void apply(const HoldBackCommand& command);
  void apply(const RestartCommand& command);
  void apply(const ScaleCommand& command);
  void apply(const ReconfigureCommand& command);
  void apply(const RolloutCommand& command);
  void apply(const ResetFailedCommand& command);
  void apply(const FreezeCommand& command);
  void apply(const GrantCommand& command);

  // The process a fact is about; empty and counted when the slot does not hold it.
  [[nodiscard]] Process* process_of(const WorkerKey& key);
  void mark(std::uint32_t slot);
  void touch(std::uint32_t slot);
  void mark_all();
  void grow(std::uint32_t slots);
  void wake();
  // Adopting what is remembered
  void confirm(std::uint32_t slot, Process& process, const Adopted& fact);
  void take_up(Process& process);
  void ask_again(std::uint32_t slot, Process& process);
  void drop_vanished();
  void vanish(std::uint32_t slot, const Process& process);

  // A step's rest, in this order until nothing happens any more.
  void settle();
  void fire(std::uint32_t slot);
  void reconcile(std::uint32_t slot);
  void tally(std::uint32_t slot);
  void finish();

  // Starting
  [[nodiscard]] bool may_spawn(std::uint32_t slot);
  [[nodiscard]] bool has_room(const Slot& slot) const;
  void spawn(std::uint32_t slot);
  void become_launching(std::uint32_t slot, Process& process);
  void become_up(std::uint32_t slot, Process& process);
  [[nodiscard]] Instant slot_deadline(std::uint32_t slot) const;
  [[nodiscard]] bool waits_for_stability(std::uint32_t slot) const;
  [[nodiscard]] bool is_stable(const Process& process) const;

  // While it runs: what it has to do, and how long it may
  void watch_start(Process& process);
  void watch_service(Process& process);
  void watch_probe(Process& process, ProbeRole role);
  [[nodiscard]] const config::ProbeSpec& probe_spec(ProbeRole role) const;
  void look_after(std::uint32_t slot, Process& process);
  void ask(std::uint32_t slot, Process& process, ProbeRole role);
  void judge_readiness(std::uint32_t slot, Process& process, bool passed, bool failed);
  void miss_watchdog(std::uint32_t slot, Process& process);
  void give_up_hung(std::uint32_t slot, Process& process);
  [[nodiscard]] std::uint64_t draw(std::uint64_t whole);
  [[nodiscard]] Duration draw(Duration whole);
  void limit_life(Process& process);
  void limit_idleness(Process& process);
  void restart_idleness(Process& process);
  void enqueue_if_due(std::uint32_t slot, const Process& process);
  void retarget_limits(const config::RecycleSpec& before, Process& process);

  // Ending
  void begin_stop(std::uint32_t slot, Process& process, ExitCause cause);
  void take_step(std::uint32_t slot, Process& process, Stopping next);
  [[nodiscard]] bool asks_by_command(const Stopping& stopping) const;
  void end_step(std::uint32_t slot, Process& process);
  void drain(std::uint32_t slot, Process& process);
  void end_drain(std::uint32_t slot, Process& process);
  void stop_now(std::uint32_t slot, Process& process, ExitCause cause);
  void kill(std::uint32_t slot, Process& process, ExitCause cause);
  void kill_left_overs(std::uint32_t slot, Process& process);
  void expire(std::uint32_t slot, Process& process);
  void thaw(std::uint32_t slot, Process& process);
  void freeze(std::uint32_t slot, Process& process);
  void end_unwanted(std::uint32_t slot);

  // After an exit
  [[nodiscard]] std::uint32_t rollout_weight(std::uint32_t slot, const ExitRecord& exit,
                                             Verdict verdict) const;
  void record(std::uint32_t slot, const Process& process, const ExitRecord& exit, Verdict verdict);
  void await_tree(std::uint32_t slot, Process& process, Verdict verdict, ExitCause cause);
  void forget(std::uint32_t slot, std::uint64_t incarnation);
  void decide_sequel(std::uint32_t slot, const Exited& exit, Verdict verdict, Duration run);
  void back_off(std::uint32_t slot, Duration delay);
  void limit_kept(std::uint32_t slot);

  // Breaker
  void count_crash(std::uint32_t slot);
  void open_breaker();
  void close_breaker();
  void reset_breaker();
  void check_probe(std::uint32_t slot);
  void check_breaker();
  [[nodiscard]] bool breaker_lets(std::uint32_t slot);
  void release_waiting();

  // Replacing: recycling, roll-out, restart
  void pump();
  [[nodiscard]] bool pump_one(std::set<std::uint32_t>& queue, Replacing kind, std::uint32_t limit);
  void start_replacing(std::uint32_t slot, Replacing kind);
  void set_replacing(std::uint32_t slot, Replacing kind);
  void check_replaced(std::uint32_t slot);
  void leave_queues(std::uint32_t slot);
  void enqueue(std::set<std::uint32_t>& queue, std::uint32_t slot);
  // The end of a process of the new revision; its record is the slot's newest.
  void rollout_failure(std::uint32_t slot, std::uint32_t weight);
  void fail_rollout(std::uint32_t slot);
  void go_back();
  void check_rollout();
  void queue_outdated();
  void begin_rollout();
  void revert_draining(std::uint32_t slot);
  [[nodiscard]] std::uint32_t recycle_limit() const;
  [[nodiscard]] bool runs_beside(Replacing kind) const;
  [[nodiscard]] bool may_roll();
  [[nodiscard]] bool can_spare_one() const;

  // Scaling of a dynamic pool
  void keep_within_bounds();
  void rescale();
  void grow_to(std::uint32_t want);
  void look_for_surplus(std::uint32_t need);
  void shrink_to(std::uint32_t want, bool forced);
  void tell_shrunk();
  [[nodiscard]] int dispensable(std::uint32_t slot, bool forced) const;
  void park(std::uint32_t slot);
  void unpark(std::uint32_t slot);
  void begin_anew();
  void adapt_slots();

  // Commands to slots
  template <class F>
  void for_slots(const std::vector<std::uint32_t>& slots, F&& act);
  void refresh(std::uint32_t slot);  // forget failures, hold and completion
  void forgive(std::uint32_t slot);  // forget failures
  void retarget(const config::PoolSpec& before);
  void retarget_probes(const config::ProbesSpec& before, Process& process);

  void act(const Action& action) { actions_.push_back(action); }
  void publish(Happening happening, std::uint64_t number = 0);
  void publish(Happening happening, std::uint32_t slot, const Process& process,
               std::uint64_t number = 0);
  void publish_rest(Happening happening, std::uint32_t slot,
                    std::optional<Duration> next_attempt = std::nullopt);

  Pool::State& state_;
  Instant now_;
  Entropy entropy_;
  std::vector<Action> actions_;
};

// From the highest down, as in mark_all; a slot that the pool does not have is passed over.
template <class F>
void Turn::for_slots(const std::vector<std::uint32_t>& slots, F&& act_on) {
  if (slots.empty()) {
    for (std::size_t slot = state_.slots.size(); slot-- > 0;)
      act_on(static_cast<std::uint32_t>(slot));
    return;
  }
  for (auto it = slots.rbegin(); it != slots.rend(); ++it) {
    if (*it < state_.slots.size()) act_on(*it);
  }
}

[[nodiscard]] inline WorkerKey key_of(std::uint32_t slot, const Process& process) {
  return {slot, process.incarnation};
}

}  // namespace mtd::model
