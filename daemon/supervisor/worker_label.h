// WorkerLabel: what the supervisor writes on a process at its spawn, to read it after its own
// restart. The pool's name comes first, NUL-terminated; numbers follow from byte 72.
#pragma once

#include <cstdint>
#include <string>

#include "daemon/sys/keeper_protocol.h"

namespace mtd::supervisor {

struct WorkerLabel {
  std::string pool;
  std::uint64_t fingerprint = 0;  // of the spec the process was started with
  std::uint64_t task_limit = 0;   // drawn for this incarnation, 0: none
  std::uint64_t revision = 0;     // of the pool's configuration, as the model counts
  bool operator==(const WorkerLabel&) const = default;
};

[[nodiscard]] std::string encode(const WorkerLabel& label);
// Any bytes are read; the pool's name may then be one that no pool has.
[[nodiscard]] WorkerLabel decode_label(const char (&bytes)[keeper::kLabelBytes]);

}  // namespace mtd::supervisor
