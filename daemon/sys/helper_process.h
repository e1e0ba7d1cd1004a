// HelperProcess: does in a short-lived child what may block on a disk, a name service or a stuck
// process: a function runs there and its text comes back through a memory file. The caller waits
// for nothing; the child is killed after its deadline, and given up if even that does not end it.
//
// The child is a copy of the caller: it must not touch the caller's descriptors or event loop. It
// gets /dev/null as standard input, keeps 1 and 2, and dies with the caller.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/result.h"
#include "common/time.h"
#include "daemon/sys/event_loop.h"

namespace mtd::sys {

inline constexpr Duration kHelperDeadline = Duration::seconds(30);
inline constexpr std::size_t kMaxHelperAnswer = 64 << 20;

class HelperProcess {
 public:
  using Work = std::function<std::string()>;
  using Done = std::function<void(Result<std::string>)>;

  // `done` runs once, from the loop; never after the HelperProcess was destroyed, which kills the
  // child.
  [[nodiscard]] static Result<HelperProcess> start(EventLoop& loop, Duration deadline, Work work,
                                                   Done done);
  HelperProcess();
  HelperProcess(HelperProcess&&) noexcept;
  HelperProcess& operator=(HelperProcess&&) noexcept;
  ~HelperProcess();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace mtd::sys
