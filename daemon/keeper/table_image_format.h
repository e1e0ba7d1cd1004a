// What stands in a table image, section by section. Only ever added to at the end of a struct; see
// table_image.h for what a reader of another version makes of it.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "daemon/keeper/keeper.h"

namespace mtd::keeper {

inline constexpr std::uint32_t kSections = 5;

enum class SectionKind : std::uint32_t { daemon = 1, processes, revisions, specs, held };

struct ImageHeader {
  char magic[8] = {};
  std::uint32_t version = 0, sections = 0;
  std::uint64_t size = 0;
  std::uint64_t checksum = 0;  // FNV-1a over all that follows
};

struct SectionHeader {  // then `count` elements, padded to a multiple of 8
  SectionKind kind{};
  std::uint32_t element_bytes = 0;
  std::uint64_t count = 0;
};

struct DaemonImage {  // one
  std::int32_t pid = 0;
  std::int32_t ready_fd = -1, start_directory = -1, null_fd = -1, notify_fd = -1;
  std::int32_t own_program = -1, role_program = -1, new_keeper = -1, new_role = -1;
  std::int32_t role_socket = -1, role_pid = 0;
  std::int32_t original_oom_score_adj = 0, oom_score_adj = 0;
  std::uint32_t capacity = 0, pending = 0;
  std::uint8_t subreaper = 0, pid1 = 0, clone3 = 0, announced_ready = 0, ready = 0, listed = 0,
               has_notify_socket = 0, phase = 0;
  std::uint64_t watchdog_usec = 0, original_nofile_soft = 0, nofile = 0, instance = 0;
  std::uint64_t change = 0, epoch = 0, list_serial = 0, ping_serial = 0;
  std::int64_t started_ns = 0, started_boot_ns = 0, role_started_ns = 0, backoff_ns = 0;
  std::int64_t next_watchdog_ns = kNever, announce_ready_at_ns = kNever, unread_check_ns = kNever,
               pong_by_ns = kNever;
  std::int64_t deaths_ns[60] = {};
  Orphans orphans;
  Deaths deaths;
  UpgradeState upgrade;
  DaemonSignal signals[kPendingSignals];
  char notify_socket[128] = {};
  char program[kPathBytes] = {};
};

// What of the keeper stands where in its image: one list, for writing and for reading.
template <class Image, class Origin, class Copy>
void each_field(Image& image, Origin& keeper, const Copy& copy) {
  auto& settings = keeper.settings;
  auto& role = keeper.role;
  copy(image.ready_fd, settings.ready_fd);
  copy(image.start_directory, settings.start_directory);
  copy(image.null_fd, settings.null_fd);
  copy(image.notify_fd, settings.notify_fd);
  copy(image.own_program, settings.own_program);
  copy(image.role_program, settings.role_program);
  copy(image.original_oom_score_adj, settings.original_oom_score_adj);
  copy(image.oom_score_adj, settings.oom_score_adj);
  copy(image.subreaper, settings.subreaper);
  copy(image.pid1, settings.pid1);
  copy(image.watchdog_usec, settings.watchdog_usec);
  copy(image.original_nofile_soft, settings.original_nofile_soft);
  copy(image.nofile, settings.nofile);
  copy(image.instance, settings.instance);
  copy(image.started_ns, settings.started_ns);
  copy(image.started_boot_ns, settings.started_boot_ns);
  copy(image.program, settings.program);
  copy(image.role_socket, role.socket);
  copy(image.role_pid, role.pid);
  copy(image.ready, role.ready);
  copy(image.listed, role.listed);
  copy(image.epoch, role.epoch);
  copy(image.list_serial, role.list_serial);
  copy(image.ping_serial, role.ping_serial);
  copy(image.role_started_ns, role.started_ns);
  copy(image.backoff_ns, role.backoff_ns);
  copy(image.unread_check_ns, role.unread_check_ns);
  copy(image.pong_by_ns, role.pong_by_ns);
  copy(image.deaths_ns, role.deaths_ns);
  copy(image.new_keeper, keeper.upgrade.new_keeper);
  copy(image.new_role, keeper.upgrade.new_role);
  copy(image.phase, keeper.upgrade.phase);
  copy(image.upgrade, keeper.upgrade.state);
  copy(image.clone3, keeper.kernel.clone3);
  copy(image.change, keeper.table.change);
  copy(image.announced_ready, keeper.announced_ready);
  copy(image.announce_ready_at_ns, keeper.announce_ready_at_ns);
  copy(image.next_watchdog_ns, keeper.next_watchdog_ns);
  copy(image.orphans, keeper.orphans);
  copy(image.deaths, keeper.deaths);
  copy(image.pending, keeper.pending_count);
  copy(image.signals, keeper.pending);
}

template <class To, class From>
void copy_field(To& to, const From& from) {
  if constexpr (std::is_array_v<To>) {
    static_assert(sizeof to == sizeof from);
    std::memcpy(static_cast<void*>(to), from, sizeof to);
  } else {
    to = static_cast<To>(from);
  }
}

struct ProcessImage {
  Entry entry;
  std::int32_t killed_for = 0;
  Stage stage{};  // of a process that was killed during its set-up and has not ended yet
  std::uint16_t dirty = 0;
};

struct RevisionImage {
  std::uint64_t id = 0, epoch = 0, spec_at = 0;
  std::uint32_t spec_bytes = 0, descriptors = 0;
  std::int32_t fds[kMaxDescriptors] = {};
  std::uint32_t own = 0, padding = 0;
};

struct HeldImage {
  char name[kHoldNameBytes] = {};
  std::int32_t fd = -1;
  std::uint32_t padding = 0;
};

[[nodiscard]] constexpr std::uint64_t padded(std::uint64_t size) {
  return (size + 7) / 8 * 8;
}

}  // namespace mtd::keeper
