// JSON inside mtctl. What is printed has the order of members that the documentation shows.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace mtd::ctl {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

}  // namespace mtd::ctl
