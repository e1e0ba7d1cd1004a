// TwoStores: where the broker keeps tasks. On disk, by threads of their own, because a disk makes
// wait (but see StoreThread::put_at_once); and in memory those that need not outlive the broker
// (Durability::memory), at once, because to hand them to a thread and back would take longer than
// they do. A task stays where it was put.
//
// A claim of a task on disk is kept in a file of its own (sys::ClaimFile), at once, and reaches the
// store with what follows it: so a worker that has answered does not wait for a transaction until
// it hears of its next task. That needs the task's body, which is kept from its put to its first
// claim, as far as there is room; every other claim is the store's. So is one that no other attempt
// may follow: the file is of no use after a loss of power.
//
// What clients want forgotten nobody waits for: the disk forgets many together, but before a put of
// the same name.
//
// Operations of one kind are done in their order, and questions see what was submitted before them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "daemon/broker/store/memory_store.h"
#include "daemon/broker/store/store_thread.h"
#include "daemon/sys/claim_file.h"

namespace mtd::broker {

// Of bodies that wait for their first claim, all together.
inline constexpr std::uint64_t kKeptBodies = 16ULL << 20U;
// Tasks that are forgotten together.
inline constexpr std::size_t kForgottenTogether = 64;
// Tasks that have ended and may be among them.
inline constexpr std::size_t kRememberedEnds = 4096;

class TwoStores {
 public:
  TwoStores(std::unique_ptr<task::StoreThread> disk, std::uint64_t memory_limit,
            sys::ClaimFile claims = {})
      : disk_(std::move(disk)), memory_(memory_limit), claims_(std::move(claims)) {}

  TwoStores(TwoStores&&) = default;
  TwoStores& operator=(TwoStores&&) = delete;
  ~TwoStores();

  // What was claimed at the end of an earlier life is running. Once, before anything is submitted.
  void add_claims(task::StoreContents& contents);

  // Each is answered by one StoreDone: by the returned ones at once, by take() later.
  [[nodiscard]] std::vector<task::StoreDone> submit(std::vector<task::StoreOp> ops);
  // Answered by one StoreReplied of take(), or at once: then it is returned.
  [[nodiscard]] std::optional<task::StoreReply> ask(std::uint64_t token,
                                                    task::StoreQuestion question);

  // At the end of a turn, when others have been woken: what was done at once is to reach the disk.
  void begin_sync() { disk_->begin_sync(); }

  // Whether there is something to be forgotten that waits for more; forget_now() lets it go. Within
  // a time that is the caller's.
  [[nodiscard]] bool is_to_forget() const { return !forgotten_.empty(); }
  void forget_now();

  // Readable while there is output.
  [[nodiscard]] int fd() const { return disk_->fd(); }
  [[nodiscard]] std::vector<task::StoreOutput> take();

 private:
  struct Claimed {  // in the file, and not yet over
    task::ClaimOp op;
    std::uint32_t place = 0;
    bool on_disk = false;  // the store has been told as well
    std::string uid;
  };

  [[nodiscard]] bool is_of_memory(const task::StoreOp& op) const;
  void add_memory(const task::StoreQuestion& question, task::StoreReply& reply);
  [[nodiscard]] std::optional<task::StoreDone> put_at_once(std::vector<task::StoreOp>& ops);
  [[nodiscard]] std::optional<task::StoreDone> claim(task::StoreOp& op);
  void note_end(task::StoreOp& op);
  void drop_body(task::TaskId id);
  void tell_claims(const task::StoreQuestion& question);
  [[nodiscard]] bool take_note(task::StoreDone& done);
  void keep_bodies(const task::StoreDone& done);
  void end_claim(task::TaskId id, std::uint32_t attempt, bool is_final);
  void note_ended(task::TaskId id, std::string uid);
  void forget_later(std::vector<task::TaskId>& ids);
  [[nodiscard]] bool takes_a_name_again(const task::StoreOp& op) const;
  void forget_now(std::vector<task::StoreOp>& ops);

  std::unique_ptr<task::StoreThread> disk_;
  task::MemoryStore memory_;
  sys::ClaimFile claims_;
  std::unordered_map<std::uint64_t, Claimed> claimed_;  // by task
  std::unordered_map<std::uint64_t, task::BodyRef> bodies_;
  std::uint64_t body_bytes_ = 0;
  std::unordered_map<std::uint64_t, std::string> ended_;  // lately: their uids
  std::vector<task::TaskId> forgotten_;                   // by clients, not yet by the disk
  std::unordered_set<std::string> forgotten_names_;       // their uids
  std::vector<std::string> files_;  // of removals in memory, told with the next one on disk
  std::unordered_map<std::uint64_t, task::StoreQuestion> asked_;  // that memory answers as well
};

}  // namespace mtd::broker
