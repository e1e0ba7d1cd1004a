#include "daemon/supervisor/death_text.h"

#include "common/exit_status.h"
#include "common/time.h"
#include "daemon/supervisor/stage_names.h"

namespace mtd::supervisor {
namespace {

std::string_view verdict(keeper::DeathReason reason) {
  switch (reason) {
    case keeper::DeathReason::crashed:
      return "crashed";
    case keeper::DeathReason::killed:
      return "was killed";
    case keeper::DeathReason::hung:
      return "did not answer and was ended by the keeper";
    case keeper::DeathReason::stuck:
      return "did not answer and could not be killed";
    case keeper::DeathReason::not_started:
      return "could not be executed";
  }
  return "died";
}

}  // namespace

std::string death_text(const keeper::Death& death) {
  std::string text = "pid " + std::to_string(death.pid) + " " + std::string(verdict(death.reason));
  if (death.reason == keeper::DeathReason::not_started) {
    text += " (" + errno_text(death.error) + ")";
  } else if (death.reason != keeper::DeathReason::stuck) {
    text += " (" + ExitStatus::from_wait(death.wait_status).text() + ")";
  }
  return text + " after " + format_duration_brief(Duration::nanoseconds(death.lived_ns));
}

}  // namespace mtd::supervisor
