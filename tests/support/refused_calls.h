// What the kernel refuses a test: syncs of files with an error of one's choice, and descriptors.
#pragma once

#include <sys/resource.h>
#include <unistd.h>

namespace mtd::test {

// Of the next fsync(2) calls so many fail with this error (refused_calls.cpp has the call itself).
void refuse_fsync(int error, int calls);

// While it lives there is no descriptor left for this process: EMFILE.
class NoDescriptors {
 public:
  NoDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const int next = ::dup(0);
    ::close(next);
    rlimit none = before_;
    none.rlim_cur = static_cast<rlim_t>(next);
    ::setrlimit(RLIMIT_NOFILE, &none);
  }
  ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;

 private:
  rlimit before_{};
};

}  // namespace mtd::test
