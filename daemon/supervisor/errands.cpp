#include "daemon/supervisor/errands.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

#include "config/expand.h"
#include "daemon/supervisor/model/backoff.h"
#include "daemon/supervisor/revision.h"
#include "daemon/supervisor/stage_names.h"
#include "daemon/supervisor/worker_label.h"
#include "daemon/sys/clock.h"
#include "daemon/sys/memfd.h"

namespace mtd::supervisor {
namespace {

// Errands of one life have numbers of their own: of the life, then counted. The highest bit keeps
// their directories apart from those of workers.
constexpr std::uint64_t kErrandBit = std::uint64_t{1} << 63U;

keeper::Key key_of(std::uint64_t number, std::uint32_t slot) {
  return {kErrandPool, slot, number};
}

// Where an earlier life of the supervisor had it.
sys::CgroupName cgroup_of(const keeper::Entry& entry) {
  return {decode_label(entry.label).pool, entry.key.slot, entry.key.incarnation};
}

constexpr std::size_t kMaxUnremoved = 64;

void fill(std::vector<std::string>& texts, const Errand& errand) {
  for (std::string& text : texts)
    text = config::for_worker(text, errand.slot, errand.incarnation);
}

std::uint32_t milliseconds(Duration timeout) {
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(timeout.count_ms(), 1, 600'000));
}

}  // namespace

Errands::Errands(sys::EventLoop& loop, sys::KeeperLink& keeper,
                 std::optional<sys::CgroupTree>& cgroups, TreeScanner& scanner,
                 std::unordered_map<int, keeper::Key>& pids,
                 std::unordered_map<std::uint64_t, keeper::Key>& spawns, const keeper::Hello& hello)
    : loop_(loop),
      keeper_(keeper),
      cgroups_(cgroups),
      scanner_(scanner),
      pids_(pids),
      spawns_(spawns),
      instance_(hello.instance),
      next_(kErrandBit | (hello.epoch << 32U)) {}

std::uint64_t Errands::start(const config::PoolSpec& pool, const Errand& errand, Done done) {
  const std::uint64_t number = ++next_;
  Running& running = running_[number];
  running.done = std::move(done);
  if (const auto sent = send(pool, errand, number, running); !sent) {
    finish_later(number, {ErrandEnd::Kind::not_started, 0, sent.error().message});
    return number;
  }
  auto timer = loop_.timer(sys::Priority::normal, [this, number, timeout = errand.timeout] {
    const auto found = running_.find(number);
    if (found == running_.end()) return;
    end_tree(number, found->second);
    tell(found->second,
         {ErrandEnd::Kind::timed_out, 0, "did not end within " + format_duration_brief(timeout)});
  });
  if (timer) {
    running.timer = std::make_unique<sys::EventLoop::Timer>(std::move(*timer));
    running.timer->arm(sys::now() + errand.timeout);
  }
  return number;
}

Result<void> Errands::send(const config::PoolSpec& pool, const Errand& errand, std::uint64_t number,
                           Running& running) {
  auto spec = surroundings_of(pool);
  if (!spec) return spec.error();
  running.tag = tag_prefix(instance_, pool.name) + "errand/" + std::to_string(number);
  spec->executable = errand.executable;
  spec->command = errand.command;
  spec->environment.insert(spec->environment.end(), errand.environment.begin(),
                           errand.environment.end());
  spec->environment.push_back("MTD_TAG=" + running.tag);
  fill(spec->command, errand);
  fill(spec->environment, errand);
  fill(spec->sandbox.read_only_paths, errand);
  spec->directory = config::for_worker(spec->directory, errand.slot, errand.incarnation);
  auto encoded = sys::encode(*spec);
  if (!encoded) return encoded.error();
  const auto bytes = sys::read_memfd(encoded->get(), keeper::kMaxSpecBytes);
  if (!bytes) return bytes.error();
  UniqueFd directory;
  running.cgroup = {pool.name, errand.slot, number};
  if (cgroups_) {
    auto made = cgroups_->make(running.cgroup);
    if (!made) return made.error();
    directory = std::move(*made);
    running.in_cgroup = true;
  }
  running.revision = number;
  keeper_.revision(number, encoded->get(), static_cast<std::uint32_t>(bytes->size()), {});
  const keeper::Key key = key_of(number, errand.slot);
  const auto serial = keeper_.spawn(key, number, encode(WorkerLabel{pool.name, 0, 0, 0}),
                                    milliseconds(errand.timeout), directory ? directory.get() : -1);
  spawns_[serial] = key;
  return {};
}

// Told from the loop: the caller is not done yet.
void Errands::finish_later(std::uint64_t number, ErrandEnd end) {
  loop_.post(sys::Priority::normal, [this, number, end, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    const auto found = running_.find(number);
    if (found == running_.end()) return;
    tell(found->second, end);
    forget(number);
  });
}

void Errands::tell(Running& running, const ErrandEnd& end) {
  running.timer.reset();
  const Done done = std::exchange(running.done, nullptr);
  if (done) done(end);
}

void Errands::cancel(std::uint64_t number) {
  const auto found = running_.find(number);
  if (found == running_.end()) return;
  found->second.timer.reset();
  found->second.done = nullptr;
  end_tree(number, found->second);
}

void Errands::end_tree(std::uint64_t number, const Running& running) {
  keeper_.signal(key_of(number, running.cgroup.slot), SIGKILL, keeper::Scope::group);
  if (running.in_cgroup && cgroups_) {
    (void)cgroups_->kill(running.cgroup).has_value();
  } else if (running.pid != 0) {
    scanner_.kill(running.tag, [](const std::vector<ScannedProcess>&) {});
  }
}

void Errands::on_entry(const keeper::Entry& entry) {
  const bool ended =
      entry.state == keeper::EntryState::failed || entry.state == keeper::EntryState::exited;
  const std::uint64_t number = entry.key.incarnation;
  const auto found = running_.find(number);
  if (found != running_.end() && entry.pid != 0 && found->second.pid == 0) {
    found->second.pid = entry.pid;
    pids_[entry.pid] = entry.key;  // no stranger
  }
  if (!ended) return;
  keeper_.release(entry.key);
  if (found == running_.end()) {
    keeper_.forget(entry.revision);
    if (cgroups_) remove(cgroup_of(entry));
    return;
  }
  ErrandEnd end;
  const int stage = static_cast<int>(entry.stage);
  const bool ran =
      entry.state == keeper::EntryState::exited && entry.outcome != keeper::Outcome::setup_failed;
  if (ran) {
    end.wait_status = entry.wait_status;
    // Killed in the instant of exec: nobody can say whether it ran.
    if (entry.outcome == keeper::Outcome::unknown) end.kind = ErrandEnd::Kind::not_started;
  } else {
    end.kind = model::is_permanent(stage, entry.error) ? ErrandEnd::Kind::failed
                                                       : ErrandEnd::Kind::not_started;
    end.text = std::string(stage_name(stage)) + ": " + errno_text(entry.error);
  }
  end_tree(number, found->second);  // what it started and left
  tell(found->second, end);
  forget(number);
}

void Errands::on_refused(const keeper::Key& key, int error) {
  const auto found = running_.find(key.incarnation);
  if (found == running_.end()) return;
  tell(found->second, {ErrandEnd::Kind::not_started, 0, errno_text(error)});
  forget(key.incarnation);
}

void Errands::end_left(const keeper::Entry& entry) {
  const bool ended =
      entry.state == keeper::EntryState::failed || entry.state == keeper::EntryState::exited;
  if (ended) {
    on_entry(entry);
    return;
  }
  keeper_.signal(entry.key, SIGKILL, keeper::Scope::group);
  if (cgroups_ && entry.in_cgroup != 0) (void)cgroups_->kill(cgroup_of(entry)).has_value();
}

void Errands::forget(std::uint64_t number) {
  const auto found = running_.find(number);
  if (found == running_.end()) return;
  if (found->second.revision != 0) keeper_.forget(found->second.revision);
  const auto pid = pids_.find(found->second.pid);
  if (pid != pids_.end() && pid->second.pool == kErrandPool) pids_.erase(pid);
  if (found->second.in_cgroup && cgroups_) remove(found->second.cgroup);
  running_.erase(found);
}

// What is killed may take a moment to end: then with the next one's.
void Errands::remove(const sys::CgroupName& cgroup) {
  unremoved_.push_back(cgroup);
  std::vector<sys::CgroupName> left;
  for (const auto& each : unremoved_) {
    const auto removed = cgroups_->remove(each);
    if (!removed && removed.error().errno_value == EBUSY && left.size() < kMaxUnremoved)
      left.push_back(each);
  }
  unremoved_ = std::move(left);
}

}  // namespace mtd::supervisor
