// Supervisor: what it has to do with tasks. It wires the task plane, and passes on what the broker
// says of workers.
#include <spdlog/spdlog.h>

#include <utility>

#include "config/executable.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/sys/runtime_dir.h"

namespace mtd::supervisor {
namespace {

std::string directory_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

}  // namespace

std::string Supervisor::task_socket_path() const {
  return (directory_of(control_path_).empty() ? runtime_dir_ : directory_of(control_path_)) +
         "/io.mtd.Tasks";
}

std::string Supervisor::program_beside(const char* name) const {
  const std::string places =
      directory_of(keeper::text_of(programs_.path)) + ":" + std::string(MTD_LIBEXECDIR);
  const auto program = config::find_executable(name, places, "/");
  return program ? *program : std::string();
}

void Supervisor::make_tasks() {
  TaskPlane::Facts facts;
  facts.instance = hello_.instance;
  facts.own_uid = sys::own_uid();
  facts.protects = hello_.oom_score_adj == keeper::kOwnOomScore;
  if (!state_dir_.empty()) facts.directory = state_dir_ + "/tasks";
  facts.log_level =
      options_.log_level.empty() ? configuration_.daemon.log_level : options_.log_level;
  TaskPlane::Hooks hooks;
  hooks.fact = [this](const keeper::Key& key, const TaskFact& fact) { on_task_fact(key, fact); };
  hooks.backlog = [this](std::uint32_t id, bool waits) {
    if (PoolRunner* pool = runner_of(id)) pool->on_backlog(waits);
    dirty_ = true;
  };
  hooks.serving = [this] {
    spdlog::info("tasks: the broker serves {}", task_socket_path());
    dirty_ = true;
  };
  hooks.failed = [this](const std::string&) { dirty_ = true; };
  hooks.id_of = [this](const std::string& name) -> std::optional<std::uint32_t> {
    const PoolRunner* pool = find(name);
    if (pool == nullptr) return std::nullopt;
    return pool->id();
  };
  hooks.program = [this] { return program_beside("mtd-broker"); };
  tasks_ = std::make_unique<TaskPlane>(loop_, keeper_, std::move(facts), std::move(hooks));
  std::optional<keeper::Entry> broker;
  for (auto at = early_entries_.begin(); at != early_entries_.end();) {
    const keeper::Key& key = at->second.key;
    if (key.pool != kOwnPool || key.slot != kBrokerSlot) {
      ++at;
      continue;
    }
    if (broker) keeper_.release(broker->key);
    broker = at->second;
    at = early_entries_.erase(at);
  }
  tasks_->adopt(held(kHeldLink), held(kHeldTasks), held(kHeldBoard), broker);
}

void Supervisor::begin_tasks() {
  tasks_->begin(configuration_, task_socket_path());
}

void Supervisor::on_task_fact(const keeper::Key& key, const TaskFact& fact) {
  if (PoolRunner* pool = runner_of(key.pool)) pool->on_task_fact({key.slot, key.incarnation}, fact);
  dirty_ = true;
}

}  // namespace mtd::supervisor
