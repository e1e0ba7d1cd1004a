// Which files make up a configuration, read and parsed, with their drop-ins merged in.
#pragma once

#include <string>
#include <vector>

#include "config/loader.h"
#include "config/node.h"
#include "config/problems.h"

namespace mtd::config {

struct Document {
  Node root;          // an object
  bool main = false;  // mtd.json or --config FILE: may hold keys of the daemon
};

struct Sources {
  std::vector<Document> documents;
  std::vector<std::string> files;  // in the order they were read
};

// What cannot be used is missing from the outcome and told in `problems`.
[[nodiscard]] Sources read_sources(const Source& source, Problems& problems);

}  // namespace mtd::config
