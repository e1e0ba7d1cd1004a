// mtd, through its client library: the result of each task comes back, each is acknowledged, and
// each has a time-out.
#include <mtd/client.h>

#include "task_load.h"

namespace bench {
namespace {

class Mtd final : public TaskQueue {
 public:
  Mtd(const std::string& path, std::string pool) : pool_(std::move(pool)) {
    mtd::ClientOptions options;
    options.paths = {path};
    options.attached = true;
    options.gather = true;
    auto client = mtd::Client::connect(std::move(options));
    if (!client) fail(client.error().message);
    client_ = std::make_unique<mtd::Client>(std::move(*client));
  }

  void submit(std::size_t count) override {
    for (std::size_t i = 0; i < count; ++i) {
      mtd::Put put;
      put.pool = pool_;
      put.words = {kPayload};
      put.timeout_ms = 60'000;
      client_->submit(std::move(put), [this](const mtd::End& end) {
        if (!end.is_done()) fail("a task ended as " + end.state + ": " + end.error.message);
        ++ended_;
      });
    }
  }

  std::size_t ended(std::size_t) override {
    std::vector<pollfd> none;
    while (ended_ == 0) {
      if (const auto turned = client_->turn(none, -1); !turned) fail(turned.error().message);
    }
    return std::exchange(ended_, 0);
  }

 private:
  const std::string kPayload = std::string(64, 'x');
  std::string pool_;
  std::unique_ptr<mtd::Client> client_;
  std::size_t ended_ = 0;
};

}  // namespace

std::unique_ptr<TaskQueue> make_mtd(const Load&, const std::string& path, const std::string& pool) {
  return std::make_unique<Mtd>(path, pool);
}

}  // namespace bench
