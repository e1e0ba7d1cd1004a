// Loader: reads and checks the configuration in a helper process, since disks and name services may
// block.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/result.h"
#include "config/pool_spec.h"
#include "daemon/sys/event_loop.h"
#include "daemon/sys/helper_process.h"

namespace mtd::supervisor {

struct LoadAnswer {
  config::Configuration configuration;
  std::vector<std::string> errors;  // not empty: there is no configuration
  std::string encoded;              // config::encode of it
  // Of the start only: STATE_DIR/run-time.json, and why it could not be read.
  std::string run_time_changes, run_time_error;
};

// `done` runs once, from the loop, unless the returned process is destroyed before.
// state_dir empty: run-time changes are not read.
[[nodiscard]] Result<sys::HelperProcess> start_loader(sys::EventLoop& loop, const std::string& path,
                                                      const std::string& state_dir,
                                                      std::function<void(LoadAnswer)> done);
// In this process, for --check: it may block.
[[nodiscard]] LoadAnswer load_here(const std::string& path);

}  // namespace mtd::supervisor
