// Supervisor: an upgrade in place, as far as it is its business: the new programs are checked, the
// keeper gets them, and this process makes way. How it ended is told by whoever serves then.
#include <spdlog/spdlog.h>

#include <cerrno>
#include <utility>

#include "common/escape.h"
#include "common/exit_status.h"
#include "config/loader.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/supervisor/upgrade_text.h"
#include "daemon/sys/memfd.h"

namespace mtd::supervisor {
namespace {

using keeper::UpgradeStep;

bool is_under_way(const keeper::UpgradeState& state) {
  return state.step == UpgradeStep::supervisor || state.step == UpgradeStep::keeper;
}

}  // namespace

void Supervisor::begin_upgrade(UpgradeBegun begun) {
  std::string conflict;
  if (upgrading_ || is_under_way(upgrade_)) conflict = "an upgrade is under way";
  if (reloading_) conflict = "a reload is under way; upgrade when it is done";
  Error error{std::move(conflict), EBUSY};
  if (stopping_) error = Error{"mtd is stopping"};
  if (programs_.path[0] == '\0')
    error = Error{"it is not known where mtd was started from; is /proc mounted?"};
  if (!error.message.empty()) {
    spdlog::error("upgrade: refused: {}", error.message);
    begun(error);
    return;
  }
  upgrading_ = Upgrading{std::move(begun), 0, 0, {}};
  upgrading_->table_serial = keeper_.snapshot();
}

void Supervisor::check_programs(sys::HeldDescriptor& table) {
  if (table.message.error != 0) {
    refuse_upgrade(Error::from_errno("copy the keeper's table", table.message.error));
    return;
  }
  const auto state = sys::read_memfd(state_->fd(), kMaxStateBytes);
  auto copy = state ? sys::make_sealed_memfd("mtd-state", *state) : Result<UniqueFd>(state.error());
  auto configuration = sys::make_sealed_memfd("mtd-config", config::encode(configuration_));
  if (!copy || !configuration) {
    refuse_upgrade(copy ? configuration.error() : copy.error());
    return;
  }
  sys::CheckRequest request;
  request.keeper_path = keeper::text_of(programs_.path);
  request.arguments = arguments_;
  request.table = std::move(table.fd);
  request.configuration = std::move(*configuration);
  request.state = std::move(*copy);
  auto check = sys::ProgramCheck::start(
      loop_, std::move(request),
      [this](Result<sys::CheckedPrograms> checked) { offer_programs(std::move(checked)); });
  if (check) {
    upgrading_->check = std::move(*check);
  } else {
    refuse_upgrade(check.error());
  }
}

void Supervisor::offer_programs(Result<sys::CheckedPrograms> checked) {
  if (!checked) return refuse_upgrade(checked.error());
  if (stopping_) return refuse_upgrade(Error{"mtd is stopping"});
  if (reloading_)
    return refuse_upgrade(Error{"a reload has begun meanwhile; upgrade when it is done", EBUSY});
  upgrading_->offer_serial =
      keeper_.upgrade(checked->version, checked->keeper.get(), checked->supervisor.get());
}

void Supervisor::refuse_upgrade(const Error& why) {
  const Error told{why.message + "; nothing was changed", why.errno_value};
  spdlog::error("upgrade: {}", escape_for_terminal(told.message));
  publish_upgrade("upgrade_failed", told.message);
  const Upgrading refused = std::move(*upgrading_);
  upgrading_.reset();
  refused.begun(told);
}

void Supervisor::handle(const keeper::Programs& programs) {
  programs_ = programs;
}

void Supervisor::handle(const keeper::UpgradeState& state) {
  upgrade_ = state;
  dirty_ = true;
  if (upgrading_ && upgrading_->offer_serial != 0 && state.step == UpgradeStep::supervisor) {
    leave_for_upgrade();
  } else if (serving_) {
    announce_upgrade();
  }
}

// From here to the successor's first answer clients wait in the listening socket's queue.
void Supervisor::leave_for_upgrade() {
  const std::string detail = versions_text(upgrade_);
  spdlog::info("upgrade {}: {}; the supervisor makes way", upgrade_.number, detail);
  publish_upgrade("upgrade_started", detail);
  upgrading_->begun(upgrade_);
  server_->flush();
  (void)keeper_.flush().has_value();
  leaving_ = finished_ = true;
  loop_.stop(0);
}

void Supervisor::announce_upgrade() {
  if (upgrade_.fresh == 0) return;
  upgrade_.fresh = 0;
  if (upgrade_.step == UpgradeStep::done) {
    spdlog::info("upgrade {}: done, {}", upgrade_.number, versions_text(upgrade_));
    publish_upgrade("upgrade_done", versions_text(upgrade_));
  } else if (upgrade_.step == UpgradeStep::failed) {
    spdlog::error("upgrade {}: failed: {}", upgrade_.number, fault_text(upgrade_));
    publish_upgrade("upgrade_failed", fault_text(upgrade_));
  }
}

void Supervisor::publish_upgrade(const char* event, const std::string& detail) {
  publish_own(event, detail);
  commit();
  dirty_ = true;
}

}  // namespace mtd::supervisor
