#include "daemon/supervisor/model/breaker.h"

#include <algorithm>

namespace mtd::model {
namespace {

constexpr std::uint32_t kExactEntries = 1024;
constexpr std::int64_t kGrains = 256;

bool has_left(Instant crash, Instant now, Duration window) {
  return crash + window <= now;
}

}  // namespace

void CrashWindow::add(Instant now, Duration window, std::uint32_t limit) {
  expire(now, window);
  ++total_;
  const bool coarse = limit > kExactEntries || entries_.size() >= kExactEntries;
  const Duration grain = Duration::nanoseconds(window.count_ns() / kGrains);
  if (!entries_.empty() &&
      (entries_.back().first == now || (coarse && now.since(entries_.back().first) < grain))) {
    ++entries_.back().crashes;
    return;
  }
  entries_.push_back({now, 1});
}

void CrashWindow::expire(Instant now, Duration window) {
  while (!entries_.empty() && has_left(entries_.front().first, now, window)) {
    total_ -= entries_.front().crashes;
    entries_.pop_front();
    ++first_number_;
  }
}

CrashWindow CrashWindow::of(std::uint64_t first_number, const std::deque<Entry>& entries) {
  CrashWindow window;
  window.first_number_ = first_number;
  for (const Entry& entry : entries) {
    const bool out_of_order =
        !window.entries_.empty() && entry.first < window.entries_.back().first;
    if (out_of_order || window.entries_.size() == kMaxCrashEntries) break;
    window.entries_.push_back(entry);
    window.total_ += entry.crashes;
  }
  return window;
}

void CrashWindow::clear() {
  first_number_ += entries_.size();
  entries_.clear();
  total_ = 0;
}

std::uint32_t CrashWindow::count(Instant now, Duration window) const {
  std::uint32_t left = total_;
  for (const Entry& entry : entries_) {
    if (!has_left(entry.first, now, window)) break;
    left -= entry.crashes;
  }
  return left;
}

std::uint32_t crash_limit(const config::PoolSpec& spec, std::uint32_t want) {
  if (spec.crash_limit.count != 0) return spec.crash_limit.count;
  const std::uint64_t computed = std::uint64_t{5} * std::max(1U, want);
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(computed, 0xffffffffU));
}

}  // namespace mtd::model
