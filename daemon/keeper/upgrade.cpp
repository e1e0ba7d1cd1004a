#include "daemon/keeper/upgrade.h"

#include <cerrno>
#include <cstring>

#include "daemon/keeper/keeper.h"
#include "daemon/keeper/request.h"
#include "daemon/keeper/table_image.h"

namespace mtd::keeper {
namespace {

void set_version(char (&to)[kVersionBytes], const char* from) {
  const std::size_t length = strnlen(from, kVersionBytes - 1);
  std::memcpy(to, from, length);
  to[length] = '\0';
}

void tell(Keeper& keeper) {
  keeper.role.upgrade_wanted = true;
}

void end_work(Keeper& keeper, UpgradePhase then) {
  UpgradeWork& work = keeper.upgrade;
  close_fd(work.new_keeper);
  close_fd(work.new_role);
  work.phase = then;
  work.by_ns = kNever;
}

// The new supervisor serves already; only the keeper stays what it is.
void stop_instead(Keeper& keeper) {
  close_fd(keeper.settings.role_program);
  keeper.settings.role_program = keeper.upgrade.new_role;
  keeper.upgrade.new_role = -1;
  fail_upgrade(keeper, UpgradeFault::stopping, 0);
  keeper.upgrade.phase = UpgradePhase::none;
  keeper.role.kill_at_ns = kNever;
  tell(keeper);
}

void try_to_hand_over(Keeper& keeper) {
  const Role& role = keeper.role;
  if (keeper.stop_asked || keeper.ending != Ending::no) return stop_instead(keeper);
  if (keeper.table.starting_head != kNone || role.answer_waiting || role.list_wanted ||
      role.ping_wanted || role.socket < 0) {
    if (keeper.now_ns < keeper.upgrade.by_ns) return;
    const std::uint32_t starting = keeper.table.starting_head;
    const int pid = starting != kNone ? keeper.table.processes[starting].message.pid : 0;
    return fail_upgrade(keeper, UpgradeFault::spawn_hangs, pid);
  }
  int error = 0;
  const UpgradeFault fault = hand_over(keeper, error);
  fail_upgrade(keeper, fault, error);  // still here
}

}  // namespace

int begin_upgrade(Keeper& keeper, Request& request) {
  UpgradeWork& work = keeper.upgrade;
  if (request.fd_count != 2) return EINVAL;
  if (keeper.ending != Ending::no || keeper.stop_asked) return ESHUTDOWN;
  if (work.phase != UpgradePhase::none) return EBUSY;
  // Without them there would be no way back.
  if (keeper.settings.own_program < 0 || keeper.settings.role_program < 0) return ENOTSUP;
  if (!keeper.role.ready) return EAGAIN;
  work.new_keeper = request.take(0);
  work.new_role = request.take(1);
  const std::uint32_t number = work.state.number + 1;
  work.state = UpgradeState();
  work.state.header.type = Type::upgrade_state;
  work.state.header.size = sizeof(UpgradeState);
  work.state.number = number;
  work.state.step = UpgradeStep::supervisor;
  set_version(work.state.from, kVersion);
  set_version(work.state.to, request.as<Upgrade>().version);
  work.phase = UpgradePhase::leaving;
  work.by_ns = keeper.now_ns + kTiming.leave;
  tell(keeper);
  return 0;
}

void snapshot(Keeper& keeper, const Request& request) {
  const int image = make_image(keeper);
  answer_held(keeper.role, request, image < 0 ? errno : 0, image);
  keeper.role.answer_fd_owned = true;
}

int role_program(const Keeper& keeper) {
  const UpgradeWork& work = keeper.upgrade;
  return work.phase == UpgradePhase::proving || work.phase == UpgradePhase::draining
             ? work.new_role
             : keeper.settings.role_program;
}

bool upgrade_role_exit(Keeper& keeper, int wait_status) {
  switch (keeper.upgrade.phase) {
    case UpgradePhase::none:
      return false;
    case UpgradePhase::leaving:
      if (keeper.stop_asked) fail_upgrade(keeper, UpgradeFault::stopping, 0);
      break;
    case UpgradePhase::proving:
    case UpgradePhase::draining:
      fail_upgrade(keeper, UpgradeFault::supervisor_died, wait_status);
      break;
    case UpgradePhase::returning:
      break;
  }
  return !keeper.stop_asked;
}

void upgrade_role_starts(Keeper& keeper) {
  UpgradeWork& work = keeper.upgrade;
  if (work.phase == UpgradePhase::returning) work.phase = UpgradePhase::none;
  if (work.phase != UpgradePhase::leaving) return;
  work.phase = UpgradePhase::proving;
  work.by_ns = keeper.now_ns + kTiming.prove;
  notify_manager(keeper, "STATUS=Upgrading; all workers run on");
}

void upgrade_role_ready(Keeper& keeper) {
  UpgradeWork& work = keeper.upgrade;
  if (work.phase != UpgradePhase::proving) return;
  work.phase = UpgradePhase::draining;
  work.by_ns = keeper.now_ns + kTiming.drain;
  work.state.step = UpgradeStep::keeper;
  keeper.role.reading = false;
}

void upgrade_deadlines(Keeper& keeper) {
  UpgradeWork& work = keeper.upgrade;
  if (work.phase == UpgradePhase::draining) return try_to_hand_over(keeper);
  if (keeper.now_ns < work.by_ns) return;
  work.by_ns = kNever;
  if (work.phase == UpgradePhase::leaving) keeper.role.kill_at_ns = keeper.now_ns;
  if (work.phase == UpgradePhase::proving) {
    fail_upgrade(keeper, UpgradeFault::supervisor_not_ready, 0);
  }
}

void fail_upgrade(Keeper& keeper, UpgradeFault fault, int error) {
  UpgradeWork& work = keeper.upgrade;
  const bool replaced = work.phase != UpgradePhase::leaving;
  work.state.step = UpgradeStep::failed;
  work.state.fault = fault;
  work.state.error = error;
  work.state.fresh = 1;
  complain("the upgrade failed; the old programs go on", 0);
  end_work(keeper, replaced ? UpgradePhase::returning : UpgradePhase::none);
  // The next one is told, and tells the world.
  if (replaced) keeper.role.kill_at_ns = keeper.role.pid != 0 ? keeper.now_ns : kNever;
}

void finish_upgrade(Keeper& keeper) {
  UpgradeWork& work = keeper.upgrade;
  Settings& settings = keeper.settings;
  close_fd(settings.own_program);
  close_fd(settings.role_program);
  settings.own_program = work.new_keeper;
  settings.role_program = work.new_role;
  work.new_keeper = work.new_role = -1;
  end_work(keeper, UpgradePhase::none);
  work.state.step = UpgradeStep::done;
  work.state.fresh = 1;
  set_version(work.state.to, kVersion);
  keeper.role.programs_wanted = true;
  tell(keeper);
}

}  // namespace mtd::keeper
