#include "common/deadlines.h"

namespace mtd {

void DeadlineIndex::set(std::uint32_t slot, Instant deadline) {
  if (slot >= positions_.size()) {
    if (deadline.is_never()) return;
    positions_.resize(slot + std::size_t{1}, kAbsent);
  }
  const std::uint32_t position = positions_[slot];
  if (deadline.is_never()) {
    if (position != kAbsent) remove_at(position);
    return;
  }
  if (position == kAbsent) {
    heap_.push_back({deadline, slot});
    positions_[slot] = static_cast<std::uint32_t>(heap_.size() - 1);
    rise(heap_.size() - 1);
    return;
  }
  if (heap_[position].deadline == deadline) return;
  heap_[position].deadline = deadline;
  rise(position);
  sink(positions_[slot]);
}

Instant DeadlineIndex::earliest() const {
  return heap_.empty() ? Instant::never() : heap_.front().deadline;
}

std::optional<std::uint32_t> DeadlineIndex::take_due(Instant now) {
  if (heap_.empty() || heap_.front().deadline > now) return std::nullopt;
  const std::uint32_t slot = heap_.front().slot;
  remove_at(0);
  return slot;
}

void DeadlineIndex::remove_at(std::size_t position) {
  positions_[heap_[position].slot] = kAbsent;
  const Entry last = heap_.back();
  heap_.pop_back();
  if (position == heap_.size()) return;
  place(position, last);
  rise(position);
  sink(positions_[last.slot]);
}

void DeadlineIndex::place(std::size_t position, Entry entry) {
  heap_[position] = entry;
  positions_[entry.slot] = static_cast<std::uint32_t>(position);
}

void DeadlineIndex::rise(std::size_t position) {
  const Entry entry = heap_[position];
  while (position > 0 && entry < heap_[(position - 1) / 2]) {
    place(position, heap_[(position - 1) / 2]);
    position = (position - 1) / 2;
  }
  place(position, entry);
}

void DeadlineIndex::sink(std::size_t position) {
  const Entry entry = heap_[position];
  for (;;) {
    std::size_t child = 2 * position + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1] < heap_[child]) ++child;
    if (entry < heap_[child]) break;
    place(position, heap_[child]);
    position = child;
  }
  place(position, entry);
}

}  // namespace mtd
