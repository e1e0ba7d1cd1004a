// Breadth-first walk over every state that a pool and its simulated world can reach together, in
// small whole units of time. Two states are the same when nothing that decides the future differs:
// time is relative, incarnations are ranks, counters are left out.
#pragma once

#include <cstdint>
#include <string>

#include "config/pool_spec.h"

namespace mtd::test {

// All durations of a walk are multiples of it, as is the model's own grace for SIGKILL: few moments
// differ.
inline constexpr Duration kTimeUnit = Duration::seconds(5);

// Which kinds of events are tried; a walk over all of them at once would be too wide to end.
struct Menu {
  bool crash = true;
  bool clean_exit = false;
  bool refuse = false;  // spawn refused
  bool setup_failure = false;
  bool leave_descendants = false;
  bool stop_start = false;
  bool stop_one = false;  // of one slot
  bool drain = false;
  bool order = false;  // held back, admitted, stopped when nothing needs it
  bool scale = false;
  bool reload = false;
  bool pause = false;  // of roll-outs
  bool restart = false;
  bool tasks = false;
  bool self_stop = false;
  bool freeze = false;
  bool stale = false;
  bool probes = false;    // answers of either kind, where the spec has probes
  bool watchdog = false;  // WATCHDOG=1 and WATCHDOG=trigger
  bool rewatch = false;   // WATCHDOG_USEC=
  bool memory = false;    // measured beyond and below the limit
  bool extend = false;    // EXTEND_TIMEOUT_USEC
  bool work = false;      // workers become busy and idle; grants are given and refused
  bool demand = false;
  bool quick = false;  // starts and empty trees are told in the same turn: deeper, not as wide
};

struct Walk {
  std::string name;
  config::PoolSpec spec;
  Menu menu;
  std::size_t most_states = 60'000;
};

struct Finding {
  std::size_t states = 0;
  std::size_t steps = 0;
  bool complete = false;  // no state was left out
  std::string wrong;      // empty: every invariant held everywhere
  std::string trace;      // the events that lead there
};

[[nodiscard]] Finding explore(const Walk& walk);

}  // namespace mtd::test
