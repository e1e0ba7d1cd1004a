// An upgrade in place, as the keeper does it. The role has tested both new files and passes them as
// descriptors; from here on nothing is opened by name.
//
//   none ── UPGRADE ──▶ leaving ── old role gone ──▶ proving ── new role ready ──▶ draining ──▶
//   execve
//                                                       │                            │
//                            dead, or not ready in time ▼        refused, or hangs   ▼
//                                     returning: the keeper stays or is executed back, and the old
//                                     supervisor is started again ──▶ none
//
// The keeper executes the new one in place (hand_over): same pid, parent of the same processes. The
// table goes along as an image (table_image.h), descriptors by their numbers, signals stay blocked.
// While it drains no request is read, so nothing is half done: no process is between clone and
// exec, no message is half answered. An image that the new keeper refuses makes it execute the old
// one back, which then takes the old supervisor back too.
#pragma once

#include <cstddef>
#include <cstdint>

#include "daemon/keeper/timing.h"
#include "daemon/sys/keeper_protocol.h"

namespace mtd::keeper {

struct Keeper;
struct Request;

extern const char kVersion[];      // of this keeper, shorter than kVersionBytes
extern const char kTableMagic[8];  // what a table image begins with

enum class UpgradePhase : std::uint8_t { none, leaving, proving, draining, returning };

struct UpgradeWork {
  UpgradePhase phase = UpgradePhase::none;
  int new_keeper = -1, new_role = -1;
  std::int64_t by_ns = INT64_MAX;
  UpgradeState state;
};

// upgrade.cpp
[[nodiscard]] int begin_upgrade(Keeper& keeper, Request& request);  // the errno of its answer
void snapshot(Keeper& keeper, const Request& request);              // answers by itself
[[nodiscard]] int role_program(const Keeper& keeper);               // what the next role executes
// A role has ended. True: it makes way for another, which is to start at once.
[[nodiscard]] bool upgrade_role_exit(Keeper& keeper, int wait_status);
void upgrade_role_starts(Keeper& keeper);
void upgrade_role_ready(Keeper& keeper);
void upgrade_deadlines(Keeper& keeper);
void fail_upgrade(Keeper& keeper, UpgradeFault fault, int error);
void finish_upgrade(Keeper& keeper);

// handover.cpp
inline constexpr char kHandoverVariable[] = "MTD_HANDOVER=";
// Executes the new keeper. Returns only if that was not possible, with the errno.
[[nodiscard]] UpgradeFault hand_over(Keeper& keeper, int& error);
// The other side. `word` is what stood in the variable. False: nothing can be done.
[[nodiscard]] bool take_over(Keeper& keeper, const char* word);
// mtd --self-test: reads the image at descriptor 3, if there is one. The exit code.
[[nodiscard]] int self_test();

}  // namespace mtd::keeper
