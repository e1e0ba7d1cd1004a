// DeadlineIndex: which slot has to be looked at next. At most one deadline a slot; setting,
// changing and removing one costs O(log n). A binary heap that knows where each slot stands in it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/time.h"

namespace mtd {

class DeadlineIndex {
 public:
  // never() removes it.
  void set(std::uint32_t slot, Instant deadline);
  [[nodiscard]] Instant earliest() const;
  // Takes out a slot whose deadline has come.
  [[nodiscard]] std::optional<std::uint32_t> take_due(Instant now);

 private:
  struct Entry {
    Instant deadline;
    std::uint32_t slot = 0;
    // Ties go to the lower slot, so that the order does not depend on the past.
    friend bool operator<(const Entry& a, const Entry& b) {
      return a.deadline != b.deadline ? a.deadline < b.deadline : a.slot < b.slot;
    }
  };
  static constexpr std::uint32_t kAbsent = 0xffffffff;

  void remove_at(std::size_t position);
  void place(std::size_t position, Entry entry);
  void rise(std::size_t position);
  void sink(std::size_t position);

  std::vector<Entry> heap_;
  std::vector<std::uint32_t> positions_;  // by slot
};

}  // namespace mtd
