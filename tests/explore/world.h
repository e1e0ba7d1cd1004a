// The world a pool model acts upon, simulated: processes with descendants that are asked for, live,
// die and are reported. It performs the model's actions, checks each of them, and says which facts
// may come next. Shared by the explorer (every order) and the simulation (random order).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "daemon/supervisor/model/pool.h"

namespace mtd::test {

enum class Life {
  asked,      // the keeper has the request
  launching,  // cloned, not executed
  running,
  dead,  // reaped and reported; descendants may live
};

struct Body {
  Life life = Life::asked;
  bool told_executed = false;
  bool descendants = false;  // something of its tree outlives the main process
  bool terminated = false;   // a stop signal has reached it
  std::size_t stop_signals = 0;
  bool killed = false;  // SIGKILL has reached main process and tree
  bool frozen = false;
  bool ready = false;    // it has been told so
  bool watched = false;  // the model waits for TreeEmpty
  std::uint32_t exits_published = 0;
  bool probed[2] = {};          // by ProbeRole: a probe is under way
  bool commanded = false;       // the stop command runs, or has done what it should
  bool command_failed = false;  // it has not
};

class World {
 public:
  // Performs the actions of one step; what is wrong with them is put into `wrong`, first one only.
  // check_all: also what must hold between steps, which costs as much as the pool is large.
  void perform(const model::Pool& pool, const std::vector<model::Action>& actions, Instant now,
               bool check_all = true);
  // The supervisor is another one: what its predecessor may have done is done again without harm.
  void forgive_repeats(bool forgiven) { repeats_forgiven_ = forgiven; }
  // Requests that never reached the keeper.
  void lose_requests();
  // What must hold between steps.
  void check(const model::Pool& pool, Instant now);

  [[nodiscard]] const std::string& wrong() const { return wrong_; }
  [[nodiscard]] const std::map<model::WorkerKey, Body>& bodies() const { return bodies_; }
  [[nodiscard]] std::map<model::WorkerKey, Body>& bodies() { return bodies_; }
  [[nodiscard]] std::uint64_t planned_exits() const { return planned_exits_; }

 private:
  void fail(const std::string& what);
  void fail(const std::string& what, const model::WorkerKey& key);
  Body* body_of(const model::WorkerKey& key, const char* what);
  void apply(const model::Pool& pool, const model::SpawnAction& action);
  void apply(const model::Pool& pool, const model::SignalAction& action);
  void apply(const model::Pool& pool, const model::StopCommandAction& action);
  void apply(const model::Pool& pool, const model::KillTreeAction& action);
  void apply(const model::Pool& pool, const model::WatchTreeAction& action);
  void apply(const model::Pool& pool, const model::ForgetAction& action);
  void apply(const model::Pool& pool, const model::FreezeAction& action);
  void apply(const model::Pool& pool, const model::ProbeAction& action);
  void apply(const model::Pool& pool, const model::PublishAction& action);
  void ask_to_end(const model::Pool& pool, const model::WorkerKey& key, Body& body);
  void check_floor(const model::Pool& pool, const model::WorkerKey& key);
  void apply(const model::Pool& pool, const model::ClaimAction& action);
  void check_scaling(const model::Pool& pool);
  void check_slot(const model::Pool& pool, std::uint32_t slot);
  void check_steps(const model::Pool& pool, const model::WorkerKey& key, const Body& body);
  void check_rollout(const model::Pool& pool);
  void check_replaced(const model::Pool& pool, const model::WorkerKey& key);

  std::map<model::WorkerKey, Body> bodies_;
  std::map<std::uint32_t, std::uint64_t> newest_;
  bool paused_ = false;
  std::uint32_t surge_ = 0, busy_ = 0;  // before: `reload` may just have been lowered
  std::uint64_t planned_exits_ = 0;
  Instant now_;
  std::uint32_t want_ = 0;  // after the last step
  bool repeats_forgiven_ = false;
  std::string wrong_;
};

}  // namespace mtd::test
