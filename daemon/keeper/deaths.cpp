// One record for each life of the supervisor that ended unasked: kept for its successor, which
// shows it; and one line for whoever reads the log when there is no successor yet.
#include <sys/wait.h>

#include <csignal>
#include <cstring>
#include <ctime>

#include "daemon/keeper/keeper.h"
#include "daemon/keeper/line.h"

namespace mtd::keeper {
namespace {

DeathReason reason_of(const Keeper& keeper, int wait_status) {
  if (keeper.table.role_note->failed) return DeathReason::not_started;
  if (keeper.role.hung) return DeathReason::hung;
  if (!WIFSIGNALED(wait_status)) return DeathReason::crashed;
  switch (WTERMSIG(wait_status)) {
    case SIGILL:
    case SIGTRAP:
    case SIGABRT:
    case SIGBUS:
    case SIGFPE:
    case SIGSEGV:
    case SIGSYS:
      return DeathReason::crashed;
    default:
      return DeathReason::killed;
  }
}

void put_end(Line& line, int wait_status) {
  const int number = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0;
  const char* name = number != 0 ? sigabbrev_np(number) : nullptr;
  if (number == 0) {
    line.put("code ").number(WEXITSTATUS(wait_status));
  } else if (name != nullptr) {
    line.put("SIG").put(name);
  } else {
    line.put("signal ").number(number);
  }
}

void describe(Line& line, const Death& death) {
  line.put("the supervisor (pid ").number(death.pid).put(") ");
  switch (death.reason) {
    case DeathReason::crashed:
      line.put(WIFEXITED(death.wait_status) ? "ended with " : "crashed by ");
      put_end(line, death.wait_status);
      break;
    case DeathReason::killed:
      line.put("was killed by ");
      put_end(line, death.wait_status);
      break;
    case DeathReason::hung:
      line.put("did not answer and was ended by ");
      put_end(line, death.wait_status);
      break;
    case DeathReason::stuck:
      line.put("did not answer and is stuck in the kernel");
      break;
    case DeathReason::not_started: {
      const char* reason = strerrordesc_np(death.error);
      line.put("could not be executed: ").put(reason != nullptr ? reason : "unknown error");
      break;
    }
  }
  const bool brief = death.lived_ns < 10 * kSecond;
  line.put(" after ").number(death.lived_ns / (brief ? kMillisecond : kSecond));
  line.put(brief ? " ms; a new one is started" : " s; a new one is started");
}

}  // namespace

void record_death(Keeper& keeper, int pid, int wait_status, bool stuck) {
  Deaths& deaths = keeper.deaths;
  std::memmove(&deaths.last[1], &deaths.last[0], sizeof(Death) * (kMaxDeaths - 1));
  Death& death = deaths.last[0];
  death = Death();
  death.epoch = keeper.role.epoch;
  death.realtime_ns = clock_ns(CLOCK_REALTIME);
  death.lived_ns = keeper.now_ns - keeper.role.started_ns;
  death.pid = pid;
  death.wait_status = wait_status;
  death.reason = stuck ? DeathReason::stuck : reason_of(keeper, wait_status);
  death.error = keeper.table.role_note->error;
  ++deaths.total;
  if (deaths.kept < kMaxDeaths) ++deaths.kept;
  if (deaths.untold < kMaxDeaths) ++deaths.untold;
  Line line;
  line.put("STATUS=");
  describe(line, death);
  complain(line.text() + std::strlen("STATUS="), 0);
  notify_manager(keeper, line.put(", all workers run on").text());
}

}  // namespace mtd::keeper
