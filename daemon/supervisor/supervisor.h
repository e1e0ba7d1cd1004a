// Supervisor: the head of mtd. Owns the pools, the configuration in force, the control socket, and
// the conversation with the keeper; one thread, one loop, nothing that blocks.
//
// A life: HELLO and LIST of the keeper, what earlier lives left with it (FETCH), runtime directory
// and lock, configuration (of the earlier life, or from the loader), then pools and READY. The
// files: owning.cpp lock and left-overs, startup.cpp up to READY, supervisor.cpp the conversation,
// ordering.cpp, reload.cpp, rolling.cpp, growing.cpp, ending.cpp, publish.cpp, state_keeping.cpp,
// persist.cpp.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "config/plan.h"
#include "config/pool_spec.h"
#include "daemon/control/loop_reactor.h"
#include "daemon/supervisor/control_names.h"
#include "daemon/supervisor/event_log.h"
#include "daemon/supervisor/event_ring.h"
#include "daemon/supervisor/loader.h"
#include "daemon/supervisor/memory_watch.h"
#include "daemon/supervisor/model/order.h"
#include "daemon/supervisor/notifications.h"
#include "daemon/supervisor/options.h"
#include "daemon/supervisor/pool_runner.h"
#include "daemon/supervisor/prober.h"
#include "daemon/supervisor/run_time_changes.h"
#include "daemon/supervisor/services.h"
#include "daemon/supervisor/sockets.h"
#include "daemon/supervisor/status_json.h"
#include "daemon/supervisor/task_plane.h"
#include "daemon/supervisor/tree_scanner.h"
#include "daemon/supervisor/waits.h"
#include "daemon/sys/cgroup.h"
#include "daemon/sys/directory_watch.h"
#include "daemon/sys/event_loop.h"
#include "daemon/sys/helper_process.h"
#include "daemon/sys/keeper_link.h"
#include "daemon/sys/program_check.h"
#include "daemon/sys/runtime_dir.h"

namespace mtd::supervisor {

struct ReloadOutcome {
  std::vector<std::string> errors;  // not empty: nothing was changed
  config::Plan plan;
  std::map<std::string, std::size_t> signalled;  // reload.mode signal: pool, workers told
};
using ReloadDone = std::function<void(const ReloadOutcome&)>;
// The upgrade has begun, or why not; errno EBUSY: something else is under way.
using UpgradeBegun = std::function<void(const Result<keeper::UpgradeState>&)>;

class Supervisor final : public Publisher {
 public:
  // `arguments`: the command line that `options` were made of.
  Supervisor(Options options, std::vector<std::string> arguments, sys::EventLoop loop,
             UniqueFd role_socket);
  ~Supervisor() override;
  // Until the keeper is told to end, or is gone. The exit code of this process.
  [[nodiscard]] int run();
  // Another one takes its place in an upgrade.
  [[nodiscard]] bool leaving() const { return leaving_; }

  // ---- what the control handlers and status need ----
  using Pools = std::map<std::string, std::unique_ptr<PoolRunner>, std::less<>>;
  [[nodiscard]] const Pools& pools() const { return pools_; }
  [[nodiscard]] PoolRunner* find(std::string_view pool);
  [[nodiscard]] const config::Configuration& configuration() const { return configuration_; }
  [[nodiscard]] std::uint64_t config_revision() const { return config_revision_; }
  [[nodiscard]] const std::string& config_error() const { return config_error_; }
  [[nodiscard]] const std::string& config_path() const { return config_path_; }
  // The files, when last looked at, said what is in force.
  [[nodiscard]] bool config_in_sync() const { return !files_differ_; }
  [[nodiscard]] const keeper::Hello& hello() const { return hello_; }
  [[nodiscard]] const keeper::Programs& programs() const { return programs_; }
  [[nodiscard]] const keeper::UpgradeState& upgrade_state() const { return upgrade_; }
  [[nodiscard]] const std::optional<sys::CgroupTree>& cgroups() const { return cgroups_; }
  [[nodiscard]] const std::string& no_cgroups_reason() const { return no_cgroups_reason_; }
  // What was lost of an earlier supervisor's state; empty: nothing.
  [[nodiscard]] const std::string& state_warning() const { return state_warning_; }
  [[nodiscard]] const Unattributed& unattributed() const { return notifications_->unattributed(); }
  [[nodiscard]] std::uint64_t orphans_reaped() const { return orphans_; }
  // How earlier supervisors ended.
  [[nodiscard]] const keeper::Deaths& deaths() const { return deaths_; }
  // Living processes that outlived their forgotten worker (orphans = keep).
  [[nodiscard]] std::uint64_t strays() const;
  [[nodiscard]] const SpawnGate& gate() const { return gate_; }
  [[nodiscard]] ControlServer& server() { return *server_; }
  [[nodiscard]] EventRing& events() { return *events_; }
  [[nodiscard]] Waits& waits() { return waits_; }
  [[nodiscard]] const Sockets& sockets() const { return sockets_; }
  [[nodiscard]] const TaskPlane& tasks() const { return *tasks_; }
  void look_after_broker() { tasks_->look(); }
  [[nodiscard]] bool stopping() const { return stopping_; }
  // Processes the tables allow: the smaller of the keeper's and limits.processes.
  [[nodiscard]] std::uint32_t capacity() const;
  [[nodiscard]] std::uint64_t wanted_processes() const;
  // Of the memory, in per cent, as it is now.
  [[nodiscard]] Result<double> memory_pressure() const;

  // Now, for people.
  [[nodiscard]] Moment moment();

  // `pool` empty: all of the files. A reload under way is followed by another one.
  void reload(const std::string& pool, ReloadDone done);
  // Back to the revision the pool had before the one in force.
  [[nodiscard]] ReloadOutcome undo(PoolRunner& pool);
  // A pool that has processes depends on it.
  [[nodiscard]] bool is_needed(const PoolRunner& pool) const;
  void begin_stop(bool now);
  void begin_upgrade(UpgradeBegun begun);

  // ---- Publisher ----
  void publish(const PoolRunner& pool, const model::PublishAction& action) override;
  void publish_deaths();
  // Of mtd itself; pool and pid may be empty and 0.
  void publish_own(const std::string& event, const std::string& detail,
                   const std::string& pool = {}, int pid = 0) override;
  void commit() override;
  void changed() override { dirty_ = true; }

 private:
  // supervisor.cpp
  void on_keeper(std::uint32_t events);
  void keeper_gone(const Error& why);
  void on_notifications();
  void handle(const keeper::Hello& hello);
  void handle(const keeper::Ack& ack);
  void handle(const keeper::Entry& entry);
  void handle(const keeper::ListEnd& end);
  void handle(sys::HeldDescriptor& held);
  void handle(const keeper::Orphans& orphans);
  void handle(const keeper::DaemonSignal& signal);
  void handle(const keeper::Ping& ping);
  void handle(const keeper::Deaths& deaths);
  void handle(const keeper::Programs& programs);
  void handle(const keeper::UpgradeState& state);
  void after_turn();
  void settle();
  void arm_pools();
  void on_deadline();
  void drop_emptied_pools();
  [[nodiscard]] PoolRunner* runner_of(std::uint32_t pool_id);
  [[nodiscard]] std::optional<keeper::Key> key_by_cgroup(int pid);
  [[nodiscard]] bool is_started(const keeper::Key& key);

  // startup.cpp
  void begin_when_told();
  void begin();
  void load_first();
  void serve(LoadAnswer answer);
  [[nodiscard]] bool open_sockets();
  [[nodiscard]] bool open_listeners();
  void fetch_inherited();
  void fetch_listeners();
  void forget_left_revisions();
  void open_cgroups();
  void make_services();
  void make_pools();
  // `removing`: its configuration is gone, only its processes are still there.
  PoolRunner* add_pool(config::PoolSpec spec, bool removing = false);
  void leave_no_stranger(const keeper::Entry& entry, const std::string& pool);
  void adopt_entries();
  void start_control();
  void warn_unclaimed();
  void fail_start(int code, const std::vector<std::string>& errors);
  void fail_bind(const Error& error);
  [[nodiscard]] UniqueFd held(const std::string& name);

  // owning.cpp
  [[nodiscard]] bool take_runtime_dir();
  void wait_for_lock(const sys::LockHeld& other);
  void end_left_overs();
  void tell_left_overs(const Result<std::string>& answer);
  static void tell_left_overs(const sys::CgroupTree& tree);

  // task_facts.cpp
  void make_tasks();
  void begin_tasks();
  void on_task_fact(const keeper::Key& key, const TaskFact& fact);
  [[nodiscard]] std::string task_socket_path() const;
  // A program of mtd's, beside the keeper or in its libexec directory; empty: not found.
  [[nodiscard]] std::string program_beside(const char* name) const;

  // watching.cpp
  void watch_names();
  void look_after_names();
  [[nodiscard]] Result<void> restore_names();
  [[nodiscard]] Result<void> restore_lock(int directory);
  [[nodiscard]] Result<void> restore_notify();
  [[nodiscard]] Result<void> restore_control();
  [[nodiscard]] Result<void> restore_tasks();
  void watch_configuration();

  // state_keeping.cpp
  void open_state();
  void open_events();
  void set_aside_state(std::string bytes);
  void report_state(const std::string& what);
  void resume_ending();

  // persist.cpp
  void choose_state_dir();
  void take_run_time_changes(const LoadAnswer& answer);
  void take_held_changes();
  void remember(const RunTimeChanges& changes);
  [[nodiscard]] RunTimeChanges run_time_changes() const;
  void hold_run_time_changes(const RunTimeChanges& changes);
  void persist_run_time_changes();

  // ordering.cpp
  void order_pools();
  void take(const model::OrderStep& step);
  [[nodiscard]] std::string order_text(const std::vector<config::Dependency>& dependencies,
                                       bool waits) const;
  void check_essential();

  // rolling.cpp
  void hold_older(const config::Plan& plan);
  void hold_pools(const char* name, std::vector<config::PoolSpec> specs, std::string& held);
  void follow_pools();
  void take_older_specs();
  [[nodiscard]] config::PoolSpec spec_in_force(const config::PoolSpec& configured,
                                               const StateStore::Pool& remembered);
  void forget_failed_revisions(const std::string& pool, const ReloadOutcome& outcome);
  void signal_for_reload(const std::string& pool, ReloadOutcome& outcome);

  // reload.cpp
  void start_reload();
  void compare_files();
  void finish_reload(LoadAnswer answer);
  [[nodiscard]] ReloadOutcome apply_configuration(config::Configuration wanted, bool rebind);
  void hold_configuration();
  void apply_daemon_settings();
  [[nodiscard]] std::string check_capacity(const config::Configuration& wanted) const;

  // upgrading.cpp
  void check_programs(sys::HeldDescriptor& table);
  void offer_programs(Result<sys::CheckedPrograms> checked);
  void refuse_upgrade(const Error& why);
  void leave_for_upgrade();
  void announce_upgrade();
  void publish_upgrade(const char* event, const std::string& detail);

  // growing.cpp
  [[nodiscard]] model::GrantCommand grant(const PoolRunner& asking);
  void grant_waiting();
  [[nodiscard]] bool is_memory_short();

  // ending.cpp
  void check_stopped();
  void finish(int code);
  void end_without_keeper();
  void tell_manager(const std::string& text);
  void tell_status();
  void change_only_pool(int delta);
  void reload_by_signal();

  Options options_;
  std::vector<std::string> arguments_;
  sys::EventLoop loop_;
  sys::KeeperLink keeper_;
  sys::EventLoop::Watch keeper_watch_;
  bool keeper_wants_write_ = false;
  control::LoopReactor reactor_;
  Sockets sockets_;

  // before READY
  keeper::Hello hello_{};
  bool greeted_ = false, listed_ = false, serving_ = false, loading_ = false;
  bool served_before_ = false;  // a former life had a configuration in force
  std::unordered_map<std::uint64_t, std::string> fetches_;  // by serial
  std::map<std::string, UniqueFd> held_;
  SocketManifest left_sockets_;  // by an earlier life
  using EntryKey =
      std::tuple<std::uint32_t, std::uint32_t, std::uint64_t>;  // pool, slot, incarnation
  std::map<EntryKey, keeper::Entry> early_entries_;
  std::vector<keeper::DaemonSignal> early_signals_;
  StateStore::Content remembered_;
  DaemonRecord asked_before_;  // of an earlier life

  std::string runtime_dir_, control_path_, notify_path_, config_path_;
  UniqueFd lock_;
  sys::EventLoop::Timer lock_timer_;
  Instant lock_until_ = Instant::never();
  config::Configuration configuration_;
  std::string encoded_configuration_;
  std::string held_previous_, held_failed_;  // what the keeper holds of them; empty: nothing
  OlderSpecs older_specs_;                   // of an earlier life, until the pools are made
  std::uint64_t config_revision_ = 0;
  std::string config_error_;
  std::uint32_t next_pool_id_ = 1;

  std::unique_ptr<StateStore> state_;
  std::unique_ptr<EventLog> event_log_;
  bool state_is_new_ = false;  // nothing of an earlier life is in it yet
  std::string state_warning_;  // for status; empty: all is well
  sys::HelperProcess state_writer_;
  std::optional<sys::CgroupTree> cgroups_;
  std::string no_cgroups_reason_;
  SpawnGate gate_;
  std::unique_ptr<TreeScanner> scanner_;
  std::unordered_map<int, keeper::Key> pids_;
  std::unordered_map<std::uint64_t, keeper::Key> spawns_;
  std::minstd_rand entropy_;
  std::unique_ptr<Errands> errands_;
  std::unique_ptr<Prober> prober_;
  std::unique_ptr<TaskPlane> tasks_;
  std::unique_ptr<Services> services_;
  std::unique_ptr<Notifications> notifications_;
  bool heard_of_speaker_ = false;  // a process started, and there are words of one not known yet
  sys::EventLoop::Watch notify_watch_;

  Pools pools_;
  std::unordered_map<std::uint32_t, PoolRunner*> by_id_;
  std::unique_ptr<MemoryWatch> memory_watch_;
  sys::EventLoop::Timer pools_timer_, status_timer_, hup_timer_, growth_timer_;
  bool growth_waits_ = false;  // a pool has claimed more than it was given
  Instant pressure_seen_;      // when it was last looked at
  std::optional<double> pressure_;
  Instant last_hup_;
  Waits waits_;
  std::unique_ptr<EventRing> events_;
  std::unique_ptr<Dispatcher> handlers_;
  std::unique_ptr<ControlServer> server_;
  SleepLog sleeps_;
  bool dirty_ = false;
  std::uint64_t orphans_ = 0;
  keeper::Deaths deaths_;

  // What others may remove or change: our sockets, the configuration's files.
  static constexpr Duration kCompareDelay = Duration::milliseconds(200);
  sys::DirectoryWatch names_, files_;
  sys::EventLoop::Watch names_watch_, files_watch_;
  sys::EventLoop::Timer names_timer_, files_timer_;
  Duration names_retry_;  // zero: the last look found or made everything
  bool files_differ_ = false;
  sys::HelperProcess comparer_;

  std::string state_dir_;                       // empty: nothing is kept
  std::optional<RunTimeChanges> kept_changes_;  // what the file says; empty: not known
  std::optional<RunTimeChanges> held_changes_;  // what the keeper holds; empty: not known
  bool set_aside_ = false, persisting_ = false;
  sys::HelperProcess writer_;

  sys::HelperProcess loader_;
  bool reloading_ = false;
  std::string reload_pool_;
  std::vector<ReloadDone> reload_done_, reload_next_;
  std::string reload_next_pool_;

  struct Upgrading {  // until the keeper has taken over
    UpgradeBegun begun;
    std::uint64_t table_serial, offer_serial;
    sys::ProgramCheck check;
  };
  std::optional<Upgrading> upgrading_;
  keeper::Programs programs_{};
  keeper::UpgradeState upgrade_{};
  bool leaving_ = false;

  bool stopping_ = false, stopping_now_ = false, finished_ = false, told_to_stop_ = false;
  int exit_code_ = 0;   // of this process
  int final_code_ = 0;  // of mtd
};

}  // namespace mtd::supervisor
