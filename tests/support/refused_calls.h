// What the kernel refuses a test: syncs of files with an error of one's choice, and descriptors.
#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "common/result.h"

namespace mtd::test {

// Of the next fsync(2) calls so many fail with this error (refused_calls.cpp has the call itself).
void refuse_fsync(int error, int calls);

// While it lives there is no descriptor left for this process: EMFILE.
class NoDescriptors {
 public:
  NoDescriptors() {
    // UBSan looks at an object's type once, through a pipe(2): before there can be none.
    (void)Error::from_errno("", EMFILE);
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

// While it lives no file of this process may have a byte: EFBIG, for what is there as well.
class NoFileSize {
 public:
  NoFileSize() : signal_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    rlimit none = before_;
    none.rlim_cur = 0;
    ::setrlimit(RLIMIT_FSIZE, &none);
  }
  ~NoFileSize() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    (void)std::signal(SIGXFSZ, signal_);
  }
  NoFileSize(const NoFileSize&) = delete;
  NoFileSize& operator=(const NoFileSize&) = delete;

 private:
  void (*signal_)(int);
  rlimit before_{};
};

}  // namespace mtd::test
