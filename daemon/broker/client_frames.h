// What clients say on io.mtd.Tasks after Open, parsed and checked; see mtd-worker(7). Pure. Unlike
// a worker's, members that are not known are refused: a client that mistypes one is told.
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

inline constexpr std::size_t kMaxUidBytes = 128;
inline constexpr std::size_t kMaxGroupBytes = 128;
inline constexpr std::size_t kMaxTaskNameBytes = 256;
inline constexpr std::size_t kMaxArgsBytes = 60 * 1024;  // they go into a line to the worker

struct PutFrame {
  std::int64_t seq = 0;
  std::string pool, uid, name, group, unique;
  std::string args = "[]";  // JSON text of a list
  std::int32_t priority = 0;
  Duration delay;
  std::optional<task::WallTime> at;
  std::optional<Duration> timeout, expires;
  std::uint32_t max_attempts = 0;
  std::optional<Duration> block;  // infinite: for ever; empty: as the pool says
  bool watch = false, attached = false;
};
struct WaitFrame {
  std::int64_t seq = 0;
  task::TaskId id;  // or
  std::string uid;
};
struct CancelFrame {
  std::int64_t seq = 0;
  task::TaskId id;
  bool now = false;
};
struct ForgetFrame {
  task::TaskId id;
};
using ClientFrame = std::variant<PutFrame, WaitFrame, CancelFrame, ForgetFrame>;

struct ClientFault {
  std::optional<std::int64_t> seq;  // empty: nobody can be told which call it was
  std::string message;
};
[[nodiscard]] std::variant<ClientFrame, ClientFault> parse_client_frame(std::string_view line);

}  // namespace mtd::broker
