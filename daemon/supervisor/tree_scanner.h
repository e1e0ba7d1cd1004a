// TreeScanner: where there are no cgroups, finds out whether descendants of an exited worker still
// live. Orphans become the keeper's children (it is a subreaper), so no unknown child means no
// left-overs; only else a helper process looks through /proc for the worker's MTD_TAG. Many
// questions, one look.
//
// A descendant that changed its environment at exec, below another one that did not, is found as
// soon as its parent is gone only if it kept MTD_TAG; the manual says so.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/sys/event_loop.h"
#include "daemon/sys/helper_process.h"
#include "daemon/sys/keeper_protocol.h"

namespace mtd::supervisor {

struct ScannedProcess {
  int pid = 0;
  std::string comm;
};

class TreeScanner {
 public:
  using Answer = std::function<void(const std::vector<ScannedProcess>& living)>;

  TreeScanner(sys::EventLoop& loop, const std::unordered_map<int, keeper::Key>& known_pids,
              std::uint64_t instance, int keeper_pid);

  // Answers once no process with this tag lives, and before that whenever a look found some. Until
  // then it looks again after 20 ms, doubling up to 1 s.
  void watch(const std::string& tag, Answer answer);
  void forget(const std::string& tag);
  // SIGKILL to all that carry it; `killed` hears whom it met.
  void kill(const std::string& tag, Answer killed);
  // Any child of the keeper that is no worker and no role?
  [[nodiscard]] bool has_strangers() const;

 private:
  void schedule(Duration delay);
  void look();
  void done(const std::string& text);
  void tell_killed(const std::string& text);

  sys::EventLoop& loop_;
  const std::unordered_map<int, keeper::Key>& known_pids_;
  std::string prefix_;
  int keeper_pid_;
  std::map<std::string, Answer> watched_;
  std::map<std::string, Answer> to_kill_, killing_;
  sys::EventLoop::Timer timer_;
  sys::HelperProcess helper_;
  bool looking_ = false;
  Duration delay_ = Duration::milliseconds(20);
};

}  // namespace mtd::supervisor
