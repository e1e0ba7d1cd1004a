// What workers say in mtd-task/1, parsed and checked; see mtd-worker(7). Pure. Members and types
// that are not known mean nothing; members of a wrong type are errors, for which a worker is
// killed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "common/result.h"
#include "common/time.h"
#include "daemon/broker/model/values.h"

namespace mtd::broker {

inline constexpr std::int64_t kTaskProtocol = 1;
inline constexpr std::uint32_t kMaxCredit = 1024;

enum Capability : std::uint32_t { kTakesBodies = 1, kTakesCancels = 2, kTellsProgress = 4 };

struct ReadyFrame {
  std::uint32_t credit = 0;  // 0: the pool's
  std::uint32_t capabilities = 0;
};
struct AnswerFrame {
  bool done = false;  // else it failed
  task::TaskId id;
  std::uint32_t attempt = 0;
  std::string result;  // JSON text; empty: none
  std::string error;   // JSON text; empty: none
  bool retry = true, crash = false;
  std::optional<Duration> delay;
  task::Death death;        // crash: of the adapter's program
  std::uint32_t parts = 0;  // of the body, if it came in parts
};
struct PartFrame {
  task::TaskId id;
  std::uint32_t attempt = 0, part = 0, of = 0;
};
struct ProgressFrame {
  task::TaskId id;
  std::string members;  // ,"done":3,"total":10,"text":"…" as far as they are there
};
struct ExtendFrame {
  task::TaskId id;
  Duration by;
};
struct CreditFrame {
  std::uint32_t credit = 1;
};
struct RecycleFrame {};
struct OtherFrame {};  // a beat, or of a newer protocol

using WorkerFrame = std::variant<ReadyFrame, AnswerFrame, PartFrame, ProgressFrame, ExtendFrame,
                                 CreditFrame, RecycleFrame, OtherFrame>;

// The error says what is wrong with the line, for people.
[[nodiscard]] Result<WorkerFrame> parse_worker_frame(std::string_view line);

}  // namespace mtd::broker
