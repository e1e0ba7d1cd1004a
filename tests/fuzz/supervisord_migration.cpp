// Any bytes as a supervisord.conf: no crash, and what comes out is JSON with pools of valid names.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <nlohmann/json.hpp>

#include "common/names.h"
#include "ctl/migrate/migrate.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  mtd::ctl::Notes notes;
  mtd::ctl::IniDocument document;
  mtd::ctl::add_ini(document, "/etc/supervisord.conf",
                    std::string_view(reinterpret_cast<const char*>(data), size), notes);
  const auto migration = mtd::ctl::migrate(document, "host", notes);
  if (!notes.errors.empty()) return 0;
  const auto again = nlohmann::json::parse(migration.configuration.dump());
  for (const auto& pool : again.at("pools").items()) {
    if (!mtd::is_valid_name(pool.key())) std::abort();
    if (pool.value().at("command").empty()) std::abort();
  }
  return 0;
}
