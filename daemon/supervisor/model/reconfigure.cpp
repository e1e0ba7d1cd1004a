// A new configuration. Members that apply in place do so at once, to running processes too; where
// the fingerprint differs the outdated processes are rolled over (rollout.cpp).
#include <algorithm>

#include "daemon/supervisor/model/turn.h"

namespace mtd::model {

void Turn::apply(const ReconfigureCommand& command) {
  const std::uint32_t wanted_before = state_.want();
  const bool respawn = command.spec.spawn_fingerprint != state_.spec.spawn_fingerprint;
  const bool back = respawn && state_.previous &&
                    state_.previous->spec->spawn_fingerprint == command.spec.spawn_fingerprint;
  if (respawn) {
    Revision fallback =
        back ? Revision{state_.revision, std::make_shared<const config::PoolSpec>(state_.spec)}
             : state_.fallback_of_change();
    state_.previous = std::move(fallback);
  }
  const config::PoolSpec before = std::move(state_.spec);
  state_.spec = command.spec;
  state_.revision = command.revision;
  adapt_slots();
  if (state_.want() > wanted_before) state_.was_full = false;
  retarget(before);
  mark_all();
  if (respawn) {
    state_.failed.reset();
    begin_rollout();
    state_.rollout.back = back;
    if (back) state_.rollout.settling = false;  // there is one other revision only
  } else {
    publish(Happening::reloaded, state_.revision);
  }
}

// What running processes take from the new configuration.
void Turn::retarget(const config::PoolSpec& before) {
  const config::PoolSpec& spec = state_.spec;
  for (std::uint32_t number = 0; number < state_.slots.size(); ++number) {
    Slot& slot = state_.slots[number];
    for (Process& process : slot.processes) {
      if (!state_.is_outdated(process)) process.revision = state_.revision;
      retarget_limits(before.recycle, process);
      retarget_probes(before.probes, process);
      if (is<Warming>(process) && spec.ready == config::ReadyMode::exec) become_up(number, process);
      enqueue_if_due(number, process);
    }
    if (slot.replacing != Replacing::reload) continue;
    const Process* old = slot.draining();
    Process* newer = slot.current();
    if (old != nullptr && !state_.is_outdated(*old)) {
      set_replacing(number, Replacing::no);  // back to what still runs
      revert_draining(number);
    } else if (newer != nullptr && state_.is_outdated(*newer) && !is<Up>(*newer)) {
      begin_stop(number, *newer, ExitCause::reload);
    }
  }
}

}  // namespace mtd::model
