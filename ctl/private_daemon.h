// An mtd of one's own for one job: in a temporary directory, with one pool, ended with this object
// and with this process, also when that is killed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ctl/outcome.h"

namespace mtd::ctl {

struct PrivatePool {
  std::vector<std::string> command;  // run once for each task
  std::int64_t workers = 1;
  std::int64_t max_tasks = 0;     // of a worker; 0: no limit
  std::int64_t max_attempts = 1;  // of a task
};

class PrivateDaemon {
 public:
  static constexpr const char* kPool = "map";

  // Returns when it answers. What it says about a failure goes to the standard error output.
  [[nodiscard]] static Outcome<PrivateDaemon> start(const PrivatePool& pool);
  PrivateDaemon(PrivateDaemon&& other) noexcept;
  PrivateDaemon& operator=(PrivateDaemon&&) = delete;
  ~PrivateDaemon();

  // The directory of its sockets.
  [[nodiscard]] std::string runtime_directory() const { return directory_ + "/run"; }

 private:
  PrivateDaemon() = default;
  std::string directory_;
  int pid_ = -1;  // of the guard, which ends after mtd
};

// A program of mtd's: beside mtctl, or where packages put it. Empty: it is not there.
[[nodiscard]] std::string find_program(const std::string& name);

}  // namespace mtd::ctl
