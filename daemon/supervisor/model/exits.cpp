#include "daemon/supervisor/model/exits.h"

#include <algorithm>

namespace mtd::model {
namespace {

// wait(2) status words, Linux.
bool has_exited(int status) {
  return (status & 0x7f) == 0;
}
int code_of(int status) {
  return (status >> 8) & 0xff;
}
bool dumped_core(int status) {
  return (status & 0x80) != 0;
}

bool contains(const std::vector<int>& codes, int code) {
  return std::find(codes.begin(), codes.end(), code) != codes.end();
}

bool is_success(const Exited& exit, const config::PoolSpec& spec) {
  return exit.kind == ReportKind::program && has_exited(exit.wait_status) &&
         contains(spec.success_codes, code_of(exit.wait_status));
}

ExitCause own_cause(const Exited& exit) {
  if (has_exited(exit.wait_status)) return ExitCause::exit;
  if (exit.oom) return ExitCause::oom;
  return dumped_core(exit.wait_status) ? ExitCause::core : ExitCause::signal;
}

Judgement judge_failed_start(const Exited& exit) {
  if (exit.kind == ReportKind::setup_failed) {
    return {ExitCause::spawn_failed, Verdict::spawn_failed};
  }
  return {ExitCause::start_failed, Verdict::start_failed};
}

// One whose end was decided before it came.
Judgement judge_ended(ExitCause cause, const Exited& exit) {
  if (!is_fault(cause)) return {cause, Verdict::planned};
  if (exit.kind == ReportKind::program) return {cause, Verdict::crash};
  if (exit.kind == ReportKind::setup_failed) return judge_failed_start(exit);
  return {cause, Verdict::start_failed};
}

}  // namespace

Judgement judge(const Process& process, const Exited& exit, const config::PoolSpec& spec,
                Instant now) {
  const auto* draining = std::get_if<Draining>(&process.state);
  const std::optional<ExitCause> ending = ending_cause(process);
  if (ending && draining == nullptr) return judge_ended(*ending, exit);
  if (exit.kind != ReportKind::program) return judge_failed_start(exit);
  if (!is_success(exit, spec)) return {own_cause(exit), Verdict::crash};
  if (draining != nullptr) return {draining->cause, Verdict::planned};
  const bool early = now.since(process.started) < std::max(spec.min_uptime, kLeastUptime);
  return {ExitCause::exit, early ? Verdict::clean_early : Verdict::clean};
}

Sequel sequel_of(const Exited& exit, Verdict verdict, const config::PoolSpec& spec) {
  if (verdict == Verdict::spawn_failed || verdict == Verdict::start_failed) return Sequel::restart;
  // What mtd ended for a fault has not done its work, whatever its exit code.
  const bool success = verdict != Verdict::crash && is_success(exit, spec);
  const bool forbidden = exit.kind == ReportKind::program && has_exited(exit.wait_status) &&
                         contains(spec.no_restart_codes, code_of(exit.wait_status));
  const Sequel end = success ? Sequel::completed : Sequel::failed;
  if (forbidden) return end;
  switch (spec.restart) {
    case config::RestartPolicy::always:
      return Sequel::restart;
    case config::RestartPolicy::on_failure:
      return success ? Sequel::completed : Sequel::restart;
    case config::RestartPolicy::never:
      return end;
  }
  return Sequel::restart;
}

}  // namespace mtd::model
