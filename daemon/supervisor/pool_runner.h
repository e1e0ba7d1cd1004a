// PoolRunner: the shell of one pool. Turns the keeper's entries and the workers' notifications into
// model events, and performs the model's actions. It decides nothing.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/supervisor/model/hooks.h"
#include "daemon/supervisor/model/pool.h"
#include "daemon/supervisor/older_specs.h"
#include "daemon/supervisor/pool_limits.h"
#include "daemon/supervisor/services.h"
#include "daemon/supervisor/task_plane.h"
#include "daemon/sys/connection_probe.h"
#include "daemon/sys/notify_socket.h"

namespace mtd::supervisor {

struct LeftOver {
  int pid = 0;
  std::string comm;
};

// What became of the processes of a pool (or of some slots) since an operation began.
struct Tally {
  std::uint32_t exited = 0, killed = 0;
  std::uint32_t unplanned = 0;       // ends and failed starts that nobody asked for
  std::vector<LeftOver> left_overs;  // at most 32
};

// One process, as the shell knows it.
struct WorkerRecord {
  int pid = 0;
  bool has_directory = false;  // a cgroup directory was made for it
  bool in_cgroup = false;      // and it was born in it
  bool told_spawned = false, told_executed = false, told_end = false;
  bool in_gate = false;
  bool tree_empty = false;   // it has exited, and nobody was left in its cgroup
  std::uint64_t change = 0;  // of the last entry seen
  std::uint64_t keeper_revision = 0;
  std::int64_t started_realtime_ns = 0;
  std::uint64_t oom_kills_seen = 0;
  std::string status_text;
  // The stop signal that is sent once the worker has no task any more; 0: stop.command.
  std::optional<std::pair<int, config::StopScope>> after_drain;
  std::string probe_texts[2];  // by ProbeRole: what was wrong with the last one; empty: nothing
  UniqueFd tree_events;        // while left-overs live
  sys::EventLoop::Watch tree_watch;
};

struct ErrandEnd;

class PoolRunner {
 public:
  // Goes on from what is remembered of the pool; its record may be new but for id and name.
  PoolRunner(Services& services, config::PoolSpec spec, StateStore::Pool remembered,
             const OlderSpecs& older);
  PoolRunner(const PoolRunner&) = delete;
  PoolRunner& operator=(const PoolRunner&) = delete;
  ~PoolRunner();

  [[nodiscard]] std::uint32_t id() const { return id_; }
  [[nodiscard]] const std::string& name() const { return model_.spec().name; }
  [[nodiscard]] const model::Pool& model() const { return model_; }
  [[nodiscard]] const std::map<model::WorkerKey, WorkerRecord>& workers() const { return workers_; }
  [[nodiscard]] const std::vector<ExitFacts>* exits(std::uint32_t slot) const;
  [[nodiscard]] std::uint64_t revision() const { return revision_; }
  [[nodiscard]] std::vector<Sockets::Fact> sockets() const {
    return services_.sockets.facts(model_.spec());
  }

  // Sends the current configuration to the keeper. Before the first apply().
  Result<void> upload() { return upload(model_.spec(), revision_); }
  // A fact or a command: the model steps, its actions are performed.
  void apply(const model::Event& event);
  // A new configuration of the same name. Of a revision the pool had before it is an undo.
  Result<void> reconfigure(config::PoolSpec spec);
  // The pool went back to an older revision by itself since the last call.
  [[nodiscard]] bool take_went_back() { return std::exchange(went_back_, false); }

  // After a restart of the supervisor, before anything else: a process the keeper has.
  void adopt(const keeper::Entry& entry);
  // After the last adopt(): what followed from adopting is told to the model now.
  void end_adoption();
  void forget_vanished();
  // Into a state that is new.
  void save_everything();
  void on_entry(const keeper::Entry& entry);
  void on_spawn_error(const model::WorkerKey& key, int error);
  void on_notification(const model::WorkerKey& key, const sys::Notification& notification);
  void on_memory(const model::WorkerKey& key, std::uint64_t bytes);
  // What the broker says of a worker.
  void on_task_fact(const model::WorkerKey& key, const TaskFact& fact);
  // Tasks wait in its queue, and no worker is there.
  void on_backlog(bool waits);
  // The tree of an exited worker, looked at again (without cgroups: by the scanner).
  void on_tree(const model::WorkerKey& key, const std::vector<LeftOver>& living);

  // whom: main, group or tree. Number of workers it went to.
  std::size_t signal(const std::vector<model::WorkerKey>& keys, int signal, config::StopScope whom);
  [[nodiscard]] std::vector<int> pids_of(const model::WorkerKey& key) const;
  [[nodiscard]] std::uint64_t strays() const;  // in cgroups of workers that are forgotten already
  // Processes that the kernel refused its workers at cgroup.pids_max: those that have ended in this
  // supervisor's life, and the first 256 that run.
  [[nodiscard]] std::uint64_t refused_forks() const;
  [[nodiscard]] std::string cgroup_of(const model::WorkerKey& key) const;  // empty: none
  [[nodiscard]] sys::CgroupName cgroup_name(const model::WorkerKey& key) const;
  [[nodiscard]] keeper::Key keeper_key(const model::WorkerKey& key) const;

  // What the broker does with its workers; empty: it has no queue, or nothing is known yet.
  [[nodiscard]] std::optional<sys::BoardQueue> queue() const;
  [[nodiscard]] std::optional<sys::BoardWorker> tasks_of(const model::WorkerKey& key) const;

  void watch_tally(const std::shared_ptr<Tally>& tally) { tallies_.push_back(tally); }
  [[nodiscard]] const PoolLimits& limits() const { return limits_; }
  // In place of the configuration, also when the machine starts again; empty: what it says.
  void set_enabled(std::optional<bool> enabled);
  [[nodiscard]] std::optional<bool> enabled() const { return enabled_; }
  // For people: what a held back pool waits for, or what a running one has lost. "": nothing.
  void set_order_note(std::string note) { order_note_ = std::move(note); }
  [[nodiscard]] const std::string& order_note() const { return order_note_; }
  void set_stopped_by(std::optional<std::uint32_t> uid);
  [[nodiscard]] std::optional<std::uint32_t> stopped_by() const;
  [[nodiscard]] const PoolRecord& record() const { return record_; }
  // At its end: no process of this pool will be started any more.
  void forget_revisions();
  [[nodiscard]] bool uses_revision(std::uint64_t id) const;  // id at the keeper

  // Nothing of it lives: no process, no descendant, kept orphans included; and all that is told.
  [[nodiscard]] bool is_empty() const {
    return model_.is_empty() && lingering_.empty() && all_is_told();
  }
  // Everything that has happened is published, and counted in the tallies.
  [[nodiscard]] bool all_is_told() const { return later_.empty(); }

  // ---- commands beside its workers: hooks, stop.command
  [[nodiscard]] const model::HookQueue& hooks() const { return hooks_; }
  [[nodiscard]] const std::string& hook_failure() const { return hook_failure_; }  // the last one
  // At its end: true when none is left. They have one hooks.timeout from the first call on, then
  // they are killed.
  [[nodiscard]] bool wind_up();
  void drop_commands();  // kills those that run

  // Left the configuration: stops, and is dropped once empty. A successor takes its place then.
  [[nodiscard]] bool removing() const { return removing_; }
  void set_removing(bool removing);
  std::optional<config::PoolSpec> successor;

 private:
  [[nodiscard]] bool finishes_first(const model::WorkerKey& key, int signal,
                                    config::StopScope scope);
  void on_spent(const model::WorkerKey& key);
  void condemn(const model::WorkerKey& key, broker::KillCause cause);
  Result<void> upload(const config::PoolSpec& spec, std::uint64_t revision);
  void drain();
  void follow_up_soon();
  void follow_up();
  void perform(const model::Action& action) {
    std::visit([this](const auto& each) { perform(each); }, action);
  }
  // Before the step is true: what is told, and what does no harm if it was not to be.
  void prepare(const model::PublishAction& action);
  void prepare(const model::FreezeAction& action);
  void prepare(const model::ForgetAction& action);
  template <class T>
  void prepare(const T&) {}
  // After it.
  void perform(const model::SpawnAction& action);
  void perform(const model::SignalAction& action);
  void perform(const model::KillTreeAction& action);
  void perform(const model::WatchTreeAction& action);
  void perform(const model::ForgetAction& action);
  void perform(const model::FreezeAction& action);
  void perform(const model::ProbeAction& action);
  void perform(const model::ClaimAction& action);
  void perform(const model::StopCommandAction& action);
  void perform(const model::PublishAction& action);
  void ask_by_command(const model::WorkerKey& key);
  void on_stop_command_end(const model::WorkerKey& key, const ErrandEnd& end);
  void run_next_hook();
  void on_hook_end(const model::HookCall& call, const ErrandEnd& end);
  void on_probe(const model::ProbeAction& action, const sys::ProbeAnswer& answer);
  void send_spawn(const model::SpawnAction& action);
  void refuse_later(const model::WorkerKey& key, keeper::Stage stage, int error);
  void set_frozen(const model::FreezeAction& action);
  void send_signal(const model::WorkerKey& key, int signal, config::StopScope scope);
  void queue(model::Event event);
  void leave_gate(WorkerRecord& record);
  void on_exit(const model::WorkerKey& key, WorkerRecord& record, const keeper::Entry& entry);
  void check_cgroup(const model::WorkerKey& key);
  [[nodiscard]] bool is_vacant(const model::WorkerKey& key, WorkerRecord& record);
  [[nodiscard]] std::vector<LeftOver> left_overs_of(const model::WorkerKey& key) const;
  void note_left_overs(const std::vector<LeftOver>& living);
  void remove_cgroup(const model::WorkerKey& key);
  void linger(const model::WorkerKey& key);
  [[nodiscard]] static model::PoolMemory memory_of(const StateStore::Pool& remembered,
                                                   const OlderSpecs& older);
  void follow_revision(const std::vector<model::Action>& actions);
  void change_limits();
  void save_changes(const model::PoolMemory& memory);
  void take_over(StateStore::Pool remembered);
  [[nodiscard]] bool is_closed(const model::WorkerKey& key) const;
  [[nodiscard]] ExitFacts facts_of(std::uint32_t slot, std::uint64_t incarnation) const;
  void save(const std::vector<model::Action>& actions);
  void save_pool();
  void save_slot(std::uint32_t slot);
  void save_exits(std::uint32_t slot);
  void save_crashes(std::uint64_t number);
  void forget_unused_revisions();
  [[nodiscard]] bool is_current(const WorkerRecord& worker) const;  // of the newest revision
  void trim_sockets();
  void watch_for_demand();
  void end_lingering();
  void cancel_waiting();

  Services& services_;
  std::uint32_t id_;
  std::uint64_t revision_;         // of the configuration, as the model counts
  std::uint64_t newest_revision_;  // ever; numbers are not used twice
  bool went_back_ = false;
  std::optional<bool> enabled_;
  std::string order_note_;
  model::Pool model_;
  PoolLimits limits_;
  std::map<model::WorkerKey, WorkerRecord> workers_;
  struct KeeperRevision {
    std::uint64_t id = 0;           // at the keeper
    std::uint64_t fingerprint = 0;  // of the spec
  };
  std::map<std::uint64_t, KeeperRevision> keeper_revisions_;  // by the model's number
  std::uint64_t refused_forks_ = 0;                           // of workers that have ended
  bool revision_lost_ = false;  // the keeper does not have the current one
  std::map<std::uint32_t, std::vector<ExitFacts>> exits_;  // last first
  // What the state holds already.
  PoolRecord record_;
  ChangeRecord changes_;
  bool is_saved_ = false;
  std::uint64_t crashes_saved_ = 0;
  std::uint32_t newest_saved_ = 0;  // crashes of the newest entry
  std::unordered_map<std::uint32_t, std::uint64_t> exits_saved_;
  // Of an earlier life, until everything is adopted.
  std::vector<model::WorkerKey> remembered_;
  std::map<model::WorkerKey, std::string> statuses_;
  std::map<std::uint32_t, std::uint64_t> closed_;       // newest incarnation of each slot
  std::map<std::uint32_t, StateStore::Slot> in_state_;  // what the state holds of them already
  // orphans = keep: directories of forgotten workers in which something lives.
  struct Lingering {
    UniqueFd events;
    sys::EventLoop::Watch watch;
  };
  std::map<model::WorkerKey, Lingering> lingering_;
  std::vector<sys::EventLoop::Watch> demand_;  // of its sockets, while it has no worker
  bool has_backlog_ = false;                   // tasks wait for its first worker
  std::deque<model::Event> pending_;
  bool adopting_ = false;  // from the first adopt() to end_adoption()
  std::deque<model::Event> after_adoption_;
  // In this order, once the loop has nothing more urgent: tidying up.
  std::deque<std::function<void()>> later_;
  bool will_follow_up_ = false;
  bool applying_ = false, removing_ = false;
  std::vector<std::weak_ptr<Tally>> tallies_;
  model::HookQueue hooks_;
  std::uint64_t hook_ = 0;   // the errand that runs, 0: none
  bool hooks_full_ = false;  // that some are left out has been told
  std::string hook_failure_;
  std::map<model::WorkerKey, std::uint64_t> stop_commands_;  // errands that run
  std::deque<model::WorkerKey> stop_commands_waiting_;
  sys::EventLoop::Timer wind_up_timer_;
  bool winding_up_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for handlers that come later
};

}  // namespace mtd::supervisor
