#include "daemon/broker/store/store.h"

#include <algorithm>
#include <utility>

namespace mtd::task {

StoreDone failed_completion(StoreDone done) {
  StoreDone failed;
  failed.op = std::move(done.op);
  failed.status = StoreStatus::failed;
  return failed;
}

std::vector<StoreDone> TaskStore::commit(std::vector<StoreOp> batch) {
  const bool syncs = std::any_of(batch.begin(), batch.end(), needs_sync);
  std::vector<StoreDone> completions = write(std::move(batch));
  if (!syncs || sync()) return completions;
  for (StoreDone& done : completions)
    done = failed_completion(std::move(done));
  return completions;
}

}  // namespace mtd::task
