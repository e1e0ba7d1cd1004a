// The command line of mtd.
#include <doctest/doctest.h>
#include <spdlog/spdlog.h>

#include <array>
#include <set>
#include <string>
#include <variant>

#include "common/exit_codes.h"
#include "config/keys.h"
#include "daemon/role/log.h"
#include "daemon/supervisor/options.h"

using namespace mtd;
using supervisor::ExitNow;
using supervisor::Options;

namespace {

std::variant<Options, ExitNow> parse(const std::string& level) {
  const std::array<const char*, 3> argv{"mtd", "--log-level", level.c_str()};
  return supervisor::parse_options(static_cast<int>(argv.size()), argv.data());
}

}  // namespace

TEST_CASE("--log-level takes the words of the key log.level, and each is a level of its own") {
  const auto before = spdlog::get_level();
  std::set<int> levels;
  std::size_t words = 0;
  for (const auto& key : config::daemon_keys()) {
    if (key.info.path != "log.level") continue;
    words = key.info.words.size();
    for (const auto word : key.info.words) {
      const auto parsed = parse(std::string(word));
      REQUIRE(std::holds_alternative<Options>(parsed));
      CHECK(std::get<Options>(parsed).log_level == word);
      role::set_log_level(std::string(word));
      CHECK(spdlog::get_level() != spdlog::level::off);  // what it does not know is off
      levels.insert(spdlog::get_level());
    }
  }
  CHECK(words == 4);
  CHECK(levels.size() == words);
  spdlog::set_level(before);
}

TEST_CASE("another word for --log-level is a usage error") {
  for (const char* word : {"loud", "warn", "Info", ""}) {
    const auto parsed = parse(word);
    REQUIRE(std::holds_alternative<ExitNow>(parsed));
    CHECK(std::get<ExitNow>(parsed).code == code(DaemonExit::usage));
  }
}
