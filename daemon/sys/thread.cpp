#include "daemon/sys/thread.h"

#include <pthread.h>
#include <signal.h>

#include <system_error>

namespace mtd::sys {

Result<Thread> Thread::start(const char* name, std::function<void()> function) {
  // The new thread inherits the mask, so that no signal finds it before it has one.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread;
  int refused = 0;
  try {
    thread = std::thread(std::move(function));
  } catch (const std::system_error& error) {
    refused = error.code().value();
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (refused != 0) return Error::from_errno("a thread of its own for the store", refused);
  ::pthread_setname_np(thread.native_handle(), name);
  return Thread(std::move(thread));
}

Thread& Thread::operator=(Thread&& other) noexcept {
  if (thread_.joinable()) thread_.join();
  thread_ = std::move(other.thread_);
  return *this;
}

Thread::~Thread() {
  if (thread_.joinable()) thread_.join();
}

}  // namespace mtd::sys
