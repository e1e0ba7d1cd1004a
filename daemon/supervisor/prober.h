// Prober: makes the probes that the pools' models ask for, and never waits for one: connections in
// the event loop, commands as errands. How many are under way at once is bounded; the others wait,
// and their time begins when they do.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <tuple>

#include "daemon/supervisor/errands.h"
#include "daemon/supervisor/model/pool.h"
#include "daemon/sys/connection_probe.h"

namespace mtd::supervisor {

inline constexpr std::size_t kMaxConnections = 256, kMaxCommands = 16;

class Prober {
 public:
  using Done = std::function<void(const sys::ProbeAnswer&)>;
  struct Subject {
    keeper::Key worker;
    int pid = 0;
    model::ProbeRole role{};
  };

  Prober(sys::EventLoop& loop, Errands& errands) : loop_(loop), errands_(errands) {}

  // `pool` outlives the question, or cancels it.
  void ask(const model::Pool& pool, const Subject& subject, Done done);
  // Nobody is interested in an answer any more.
  void cancel(const keeper::Key& worker);

 private:
  using Id = std::tuple<std::uint32_t, std::uint32_t, std::uint64_t, model::ProbeRole>;
  struct Question {
    const model::Pool* pool = nullptr;
    Subject subject;
    Done done;
    bool begun = false, is_command = false;
    sys::ConnectionProbe connection;
    std::uint64_t errand = 0;
  };
  static Id id_of(const Subject& subject);
  [[nodiscard]] static const config::ProbeSpec& spec_of(const Question& question);
  void begin_waiting();
  void begin(const Id& id, Question& question);
  void begin_command(const Id& id, Question& question);
  void begin_connection(const Id& id, Question& question);
  void finish(const Id& id, const sys::ProbeAnswer& answer);
  void drop(std::map<Id, Question>::iterator question);

  sys::EventLoop& loop_;
  Errands& errands_;
  std::map<Id, Question> questions_;
  std::deque<Id> connections_waiting_, commands_waiting_;
  std::size_t connections_ = 0, commands_ = 0;  // under way
  // A command that did not end even by SIGKILL yet: no second one beside it.
  std::map<Id, std::uint64_t> hanging_;
};

}  // namespace mtd::supervisor
