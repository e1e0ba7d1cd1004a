// PartSpool: the parts of answers that are not whole yet. A part is taken out of its worker's
// socket long before its answer is on record; so it is kept in a file as well, and the next broker
// has what a killed one had taken. One file an attempt, DIRECTORY/TASK.ATTEMPT, which goes when the
// answer is on record or can come no more. Nothing is synced: a loss of power ends the workers,
// too.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/result.h"
#include "daemon/broker/model/values.h"

namespace mtd::broker {

class PartSpool {
 public:
  // Sees what a former broker left. An empty name: nothing is kept.
  explicit PartSpool(std::string directory);

  // Call it before the part's frame is taken out of the socket.
  [[nodiscard]] Result<void> add(task::TaskId id, std::uint32_t attempt, std::uint32_t part,
                                 std::string_view bytes);
  // In their order, from the first one on; of one that came twice, the last.
  [[nodiscard]] std::vector<std::string> parts(task::TaskId id, std::uint32_t attempt) const;
  void remove(task::TaskId id, std::uint32_t attempt);
  using Wanted = std::function<bool(task::TaskId id, std::uint32_t attempt)>;
  void remove_unless(const Wanted& wanted);

 private:
  using Key = std::pair<std::uint64_t, std::uint32_t>;
  [[nodiscard]] std::string path_of(const Key& key) const;

  std::string directory_;
  std::set<Key> kept_;  // files that are there
};

}  // namespace mtd::broker
