// What stands in a table image, section by section. Only ever added to at the end of a struct; see
// table_image.h for what a reader of another version makes of it.
#pragma once

#include <cstdint>

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
