// A supervisord configuration as one of mtd. Pure: what was read comes in, what is to be printed
// and said goes out.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "ctl/json.h"
#include "ctl/migrate/ini.h"
#include "ctl/migrate/notes.h"

namespace mtd::ctl {

struct Migration {
  OrderedJson configuration;
  std::vector<std::string> remarks;  // about the whole
};

// `host`: the machine's name, for %(host_node_name)s.
[[nodiscard]] Migration migrate(const IniDocument& document, const std::string& host, Notes& notes);

}  // namespace mtd::ctl
