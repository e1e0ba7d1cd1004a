// Random operations on a task store, and all that a store holds as one text: two stores that were
// asked the same must say the same.
#pragma once

#include <string>
#include <vector>

#include "common/entropy.h"
#include "daemon/broker/store/store.h"

namespace mtd::test {

class StoreSamples {
 public:
  explicit StoreSamples(std::uint64_t seed, std::size_t body_bytes = 40)
      : dice_(seed), body_bytes_(body_bytes) {}

  // Operations that mostly fit what the store holds (as far as it was asked before), and some that
  // do not: of tasks that are gone, of old attempts, with names that are taken.
  [[nodiscard]] std::vector<task::StoreOp> batch(std::size_t most);

 private:
  struct Sample {
    task::TaskId id;
    std::uint32_t attempts = 0;
    bool running = false, final = false;
  };
  [[nodiscard]] std::uint64_t below(std::uint64_t limit) { return dice_.next() % limit; }
  [[nodiscard]] task::StoreOp put();
  [[nodiscard]] task::StoreOp about(Sample& sample);
  [[nodiscard]] task::AttemptRecord record(const Sample& sample);

  Entropy dice_;
  std::size_t body_bytes_;
  std::vector<Sample> samples_;
  std::uint64_t next_id_ = 1, order_ = 1;
  std::int64_t time_ = 1'000;
};

[[nodiscard]] std::string dump(task::TaskStore& store);
[[nodiscard]] std::string dump(const std::vector<task::StoreDone>& completions);

}  // namespace mtd::test
