#include "tests/explore/restart.h"

#include "daemon/supervisor/model/state.h"

namespace mtd::test {

using namespace model;

Restarted restart(const Pool& before, const PoolMemory& memory, const World& world, Instant now,
                  std::uint64_t entropy) {
  Restarted after{Pool(before.spec(), before.state().revision, now, memory), {}};
  const auto step = [&](const Event& event) {
    for (Action& action : after.pool.step(event, now, entropy))
      after.actions.push_back(std::move(action));
  };
  for (const auto& [key, body] : world.bodies()) {
    Adopted fact;
    fact.key = key;
    fact.pid = body.life == Life::asked ? 0 : 100;
    fact.executed = body.life == Life::running;
    fact.exited = body.life == Life::dead;
    // What a command has asked nobody at the keeper knows.
    fact.stop_sent = (body.terminated && (!body.commanded || body.stop_signals > 1)) || body.killed;
    fact.started = now;
    step(fact);
  }
  step(Tick{});
  return after;
}

}  // namespace mtd::test
