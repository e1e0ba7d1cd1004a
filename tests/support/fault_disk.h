// FaultDisk: a disk in memory under SQLite (a VFS of its own), which knows what has been synced. It
// can stop at the k-th change as if the process had been killed, lose what was not synced as if the
// power had gone, run out of room, and fail to sync.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace mtd::test {

enum class After { kill, power_cut, torn };

class FaultDisk {
 public:
  // One at a time: the VFS is registered under this name while the disk lives.
  static constexpr const char* kName = "mtd-fault";

  FaultDisk();
  ~FaultDisk();
  FaultDisk(const FaultDisk&) = delete;
  FaultDisk& operator=(const FaultDisk&) = delete;

  // Writes, truncations, syncs and deletions so far.
  [[nodiscard]] std::uint64_t changes() const { return changes_; }
  // From this change on (counted from 1) nothing reaches the disk any more; 0: never.
  void stop_at(std::uint64_t change) { stop_at_ = change; }
  [[nodiscard]] bool has_stopped() const { return stop_at_ != 0 && changes_ >= stop_at_; }
  // The process or the machine starts again. torn: of what was not synced, each write has reached
  // the disk or not as the seed says.
  void start_again(After after, std::uint64_t seed = 0);
  // Bytes that all files together may have.
  void set_capacity(std::uint64_t bytes) { capacity_ = bytes; }
  [[nodiscard]] std::uint64_t used() const;
  // This change alone (counted from 1) fails with an error of writing; 0: none.
  void fail_change(std::uint64_t change) { fail_change_ = change; }
  // This sync (counted from 1) and all later ones fail; 0: none.
  void fail_sync(std::uint64_t sync) {
    const auto held = hold();
    fail_sync_ = sync;
  }
  // The next one alone fails: of what could not be written the kernel tells once.
  void fail_next_sync() {
    const auto held = hold();
    fail_next_sync_ = true;
  }
  // The next one alone fails, and whoever syncs hears of it only when it is let go.
  void hold_next_sync() {
    const auto held = hold();
    fail_next_sync_ = hold_next_sync_ = true;
  }
  void wait_until_held() {
    auto held = hold();
    gate_.wait(held, [this] { return is_held_; });
  }
  void let_go() {
    const auto held = hold();
    is_held_ = false;
    gate_.notify_all();
  }
  // What writing fails with where there is no room: an errno, 0 for SQLite's own word for it.
  void set_want_of_room(int error) { want_of_room_ = error; }
  [[nodiscard]] std::uint64_t syncs() const {
    const auto held = hold();
    return syncs_;
  }
  // Flips bytes of a file.
  void damage(const std::string& name, std::uint64_t offset, std::size_t length);
  [[nodiscard]] std::string& content(const std::string& name) { return files_[name].now; }

  // For the VFS only. A store syncs while it writes.
  [[nodiscard]] std::unique_lock<std::mutex> hold() const { return std::unique_lock(lock_); }
  struct Write {
    std::uint64_t offset = 0;
    std::string bytes;
    bool truncates = false;  // offset: the new size
  };
  struct File {
    bool exists = false;
    std::string now, synced;
    std::vector<Write> unsynced;
  };
  [[nodiscard]] std::map<std::string, File>& files() { return files_; }
  // False: this change does not happen.
  [[nodiscard]] bool change();
  [[nodiscard]] bool sync_fails(std::unique_lock<std::mutex>& hold);
  [[nodiscard]] int want_of_room() const { return want_of_room_; }
  [[nodiscard]] bool has_room(std::uint64_t more) const { return used() + more <= capacity_; }

 private:
  mutable std::mutex lock_;
  std::map<std::string, File> files_;
  std::uint64_t changes_ = 0, stop_at_ = 0, syncs_ = 0, fail_sync_ = 0, fail_change_ = 0;
  bool fail_next_sync_ = false, hold_next_sync_ = false, is_held_ = false;
  std::condition_variable gate_;
  int want_of_room_ = 0;
  std::uint64_t capacity_ = ~std::uint64_t{0};
};

}  // namespace mtd::test
