// What the child does between clone and exec. Everything here runs in the child only, with raw
// system calls on memory that was mapped before; it notes its stage in shared memory, and on an
// error the errno, and is gone. It never returns, allocates, or takes a lock.
#pragma once

#include "daemon/keeper/keeper.h"

namespace mtd::keeper {

struct ChildPlan {
  const Settings* settings = nullptr;
  ChildNote* note = nullptr;
  sys::SpecView spec;
  const std::int32_t* fds = nullptr;  // of the revision, then its own
  char* scratch = nullptr;
  Key key;
  int exec_pipe = -1;
  int join_cgroup = -1;  // a cgroup directory to write oneself into, when clone could not
};

[[noreturn]] void run_child(const ChildPlan& plan);
// The supervisor: `socket` becomes descriptor 3, everything else but 0–2 is closed. `program` is
// what is executed; -1: what stands at the first of its paths.
[[noreturn]] void run_role_child(const Settings& settings, ChildNote& note, int socket,
                                 int program);

// Room in the scratch memory, taken from its front by expanded strings.
struct Scratch {
  char* at;
  char* end;
};
// For the steps of run_child: ends the child, with its stage as it is noted.
[[noreturn]] void give_up(ChildNote& note, int error);
void check(ChildNote& note, bool done);  // gives up with errno
// The text itself where it has no marker; else its expansion in the scratch memory.
const char* expand(const ChildPlan& plan, Scratch& scratch, const char* text);

// False, with errno: the kernel did not take it.
[[nodiscard]] bool write_oom_score_adj(std::int32_t value);

// Closes first..last; by hand where the kernel has no close_range.
void close_all(std::uint32_t first, std::uint32_t last, std::uint64_t limit);

}  // namespace mtd::keeper
