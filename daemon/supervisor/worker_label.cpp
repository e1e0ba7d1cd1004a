#include "daemon/supervisor/worker_label.h"

#include <algorithm>
#include <cstring>

#include "common/names.h"

namespace mtd::supervisor {
namespace {

constexpr std::size_t kFingerprintAt = 72, kTaskLimitAt = 80, kRevisionAt = 88;

std::uint64_t number_at(const char (&bytes)[keeper::kLabelBytes], std::size_t at) {
  std::uint64_t value = 0;
  std::memcpy(&value, bytes + at, sizeof(value));
  return value;
}

}  // namespace

std::string encode(const WorkerLabel& label) {
  std::string bytes(keeper::kLabelBytes, '\0');
  std::memcpy(bytes.data(), label.pool.data(), std::min(label.pool.size(), kMaxNameLength));
  std::memcpy(bytes.data() + kFingerprintAt, &label.fingerprint, sizeof(label.fingerprint));
  std::memcpy(bytes.data() + kTaskLimitAt, &label.task_limit, sizeof(label.task_limit));
  std::memcpy(bytes.data() + kRevisionAt, &label.revision, sizeof(label.revision));
  return bytes;
}

WorkerLabel decode_label(const char (&bytes)[keeper::kLabelBytes]) {
  const char* end = std::find(bytes, bytes + kMaxNameLength + 1, '\0');
  return {std::string(bytes, end), number_at(bytes, kFingerprintAt), number_at(bytes, kTaskLimitAt),
          number_at(bytes, kRevisionAt)};
}

}  // namespace mtd::supervisor
