// Thread: one thread beside an event loop, for what blocks. Signals stay with the loop. Joined by
// its destructor: whoever owns it sees to it that its function returns.
#pragma once

#include <functional>
#include <thread>

#include "common/result.h"

namespace mtd::sys {

class Thread {
 public:
  Thread() = default;
  // name: at most 15 characters, for ps and top.
  [[nodiscard]] static Result<Thread> start(const char* name, std::function<void()> function);
  Thread(Thread&&) = default;
  Thread& operator=(Thread&& other) noexcept;
  ~Thread();

 private:
  explicit Thread(std::thread thread) : thread_(std::move(thread)) {}
  std::thread thread_;
};

}  // namespace mtd::sys
