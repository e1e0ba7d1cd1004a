// StoreTraffic: what is on its way to the store and back. Operations are collected and go out
// together, at the end of a turn at the latest; a question sees what was submitted before it, and
// is never answered before ask() has returned. What clients want forgotten goes after a pause.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <unordered_map>
#include <vector>

#include "common/result.h"
#include "daemon/broker/part_spool.h"
#include "daemon/broker/two_stores.h"
#include "daemon/sys/event_loop.h"

namespace mtd::broker {

// Who hears what has become of operations.
class StoreHost {
 public:
  virtual ~StoreHost() = default;
  virtual void done(task::StoreDone&& done) = 0;
  virtual void synced(const task::StoreSynced& synced) = 0;
};

class StoreTraffic {
 public:
  // The files of removed tasks go from `parts`.
  StoreTraffic(StoreHost& host, sys::EventLoop& loop, TwoStores stores, PartSpool& parts)
      : host_(host), loop_(loop), stores_(std::move(stores)), parts_(parts) {}
  Result<void> start();
  // Once, before anything is submitted.
  void add_claims(task::StoreContents& contents) { stores_.add_claims(contents); }

  void submit(task::StoreOp&& op) { batch_.push_back(std::move(op)); }
  void remove(std::vector<task::TaskId> ids);
  using Replied = std::function<void(task::StoreReply)>;
  void ask(task::StoreQuestion question, Replied replied);
  // What is done at once is told before this returns, and what that leads to.
  void send();
  void end_turn();
  // After it, when workers and clients have been sent what they wait for.
  void begin_sync() { stores_.begin_sync(); }
  // Nothing that was submitted is under way.
  [[nodiscard]] bool is_idle() const { return under_way_ == 0 && batch_.empty(); }
  // How long the store has said nothing, if it owes an answer; else since it owed one.
  [[nodiscard]] Duration silence(Instant now) const { return now.since(heard_); }
  [[nodiscard]] bool is_owed() const { return under_way_ > 0 || !questions_.empty(); }

 private:
  void on_output();
  void done(task::StoreDone&& done);
  void replied(std::uint64_t token, task::StoreReply reply);

  StoreHost& host_;
  sys::EventLoop& loop_;
  TwoStores stores_;
  PartSpool& parts_;
  sys::EventLoop::Watch watch_;
  sys::EventLoop::Timer forget_;
  std::vector<task::StoreOp> batch_;
  std::size_t last_batch_ = 0;                // operations in it
  std::uint64_t under_way_ = 0;               // operations at the disk
  std::deque<task::StoreDone> done_at_once_;  // in memory; not told yet
  bool sending_ = false;
  Instant heard_;  // something from the store, or given to one that had nothing to do
  std::uint64_t next_question_ = 1;
  std::unordered_map<std::uint64_t, Replied> questions_;
};

}  // namespace mtd::broker
