#include "daemon/broker/open_store.h"

#include <utility>

#include "common/timestamp.h"
#include "daemon/broker/store/sqlite_store.h"
#include "daemon/sys/clock.h"
#include "daemon/sys/proc.h"
#include "daemon/sys/spool_file.h"

namespace mtd::broker {
namespace {

// Without what is in it a task that a worker has would be given to another one as well. So the
// broker does not begin before it can be read; it is started again and again.
Result<sys::ClaimFile> open_claims(const StorePlace& place, const Result<std::string>& boot) {
  const std::string path = place.directory + "/claims";
  if (!boot && sys::file_size(path) == 0) return sys::ClaimFile();  // of which boot would it be?
  auto claims =
      boot ? sys::ClaimFile::open(path, *boot, place.life) : Result<sys::ClaimFile>(boot.error());
  if (claims) return claims;
  return Error{"nobody knows who works on which task: " + claims.error().message +
                   "; none is done twice for that. If it stays so, stop mtd and remove that file",
               claims.error().errno_value};
}

}  // namespace

Result<OpenedStore> open_store(StorePlace place) {
  const auto boot = sys::read_small_file("/proc/sys/kernel/random/boot_id");
  auto claims = open_claims(place, boot);
  if (!claims) return claims.error();
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
  options.boot_id = boot ? *boot : options.time;
  auto disk = task::SqliteStore::open(std::move(options));
  if (!disk) return disk.error();
  auto contents = (*disk)->load();
  if (!contents) return contents.error();
  OpenedStore opened;
  opened.contents = std::move(*contents);
  opened.warning = (*disk)->note();
  opened.store = std::move(*disk);
  if (!claims->trouble().empty()) {  // it works without, if slower
    if (!opened.warning.empty()) opened.warning += "; ";
    opened.warning += "claims are kept in the database: " + claims->trouble();
  }
  opened.claims = std::move(*claims);
  return opened;
}

}  // namespace mtd::broker
