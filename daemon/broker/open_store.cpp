#include "daemon/broker/open_store.h"

#include <utility>

#include "common/timestamp.h"
#include "daemon/broker/store/sqlite_store.h"
#include "daemon/sys/clock.h"
#include "daemon/sys/proc.h"

namespace mtd::broker {
Result<OpenedStore> open_store(StorePlace place) {
  task::SqliteOptions options;
  options.path = place.directory + "/tasks.db";
  options.quota = place.quota;
  options.life = place.life;
  options.files = place.files;
  options.file_bytes = place.file_bytes;
  const std::int64_t now = sys::realtime_ns();
  options.time = format_timestamp(now);
  // Nobody has put a thousand tasks a second since 1970.
  options.last_id_anew = static_cast<std::uint64_t>(now / 1'000'000);
  // Without /proc the file is checked at every start.
  const auto boot = sys::read_small_file("/proc/sys/kernel/random/boot_id");
  options.boot_id = boot ? *boot : options.time;
  auto disk = task::SqliteStore::open(std::move(options));
  if (!disk) return disk.error();
  OpenedStore opened;
  opened.warning = (*disk)->note();
  opened.store = std::move(*disk);
  if (!boot) return opened;  // claims of which boot?
  auto claims = sys::ClaimFile::open(place.directory + "/claims", *boot, place.life);
  if (claims) {
    opened.claims = std::move(*claims);
  } else {  // it works without, if slower
    if (!opened.warning.empty()) opened.warning += "; ";
    opened.warning += claims.error().message;
  }
  return opened;
}

}  // namespace mtd::broker
