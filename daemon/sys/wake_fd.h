// WakeFd: an eventfd (eventfd(2)) by which one thread wakes the event loop of another. Readable
// from signal() until clear(); any number of signals are one.
#pragma once

#include "common/result.h"
#include "common/unique_fd.h"

namespace mtd::sys {

class WakeFd {
 public:
  [[nodiscard]] static Result<WakeFd> make();
  [[nodiscard]] int fd() const { return fd_.get(); }
  void signal() const;  // from any thread
  void clear() const;

 private:
  explicit WakeFd(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace mtd::sys
