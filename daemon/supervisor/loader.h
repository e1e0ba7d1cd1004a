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
};

// `done` runs once, from the loop, unless the returned process is destroyed before.
[[nodiscard]] Result<sys::HelperProcess> start_loader(sys::EventLoop& loop, const std::string& path,
                                                      std::function<void(LoadAnswer)> done);
// In this process, for --check: it may block.
[[nodiscard]] LoadAnswer load_here(const std::string& path);

}  // namespace mtd::supervisor
