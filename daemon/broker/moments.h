// Moments: which clients hold back what they are told, and until when. One entry for each wait, in
// the order of their ends; a client that has sent meanwhile, and perhaps waits anew, holds up
// nobody behind it.
#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <utility>

#include "common/time.h"
#include "daemon/broker/client_stream.h"

namespace mtd::broker {

class Moments {
 public:
  void add(ClientStream& client) {
    const Instant ends = client.wait_ends();
    const auto behind =
        std::upper_bound(waits_.begin(), waits_.end(), ends,
                         [](Instant at, const auto& wait) { return at < wait.first; });
    waits_.emplace(behind, ends, client.weak_from_this());
  }
  // When to call end(); never(): nobody waits.
  [[nodiscard]] Instant next() const {
    return waits_.empty() ? Instant::never() : waits_.front().first;
  }
  // Tells those whose wait is over. What has been sent meanwhile costs no further look.
  void end(Instant now) {
    while (!waits_.empty()) {
      const auto [ends, waiting] = waits_.front();
      const auto client = waiting.lock();
      const bool waits = client && client->wait_ends() == ends;
      if (waits && ends > now) break;
      waits_.pop_front();
      if (waits) client->moment_over();
    }
  }

 private:
  std::deque<std::pair<Instant, std::weak_ptr<ClientStream>>> waits_;
};

}  // namespace mtd::broker
