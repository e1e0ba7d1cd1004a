// The file mode creation mask of this process, for as long as the guard lives. One thread only.
#pragma once

#include <sys/stat.h>

namespace mtd::sys {

class UmaskGuard {
 public:
  explicit UmaskGuard(mode_t mask) : old_(::umask(mask)) {}
  UmaskGuard(const UmaskGuard&) = delete;
  UmaskGuard& operator=(const UmaskGuard&) = delete;
  ~UmaskGuard() { ::umask(old_); }

 private:
  mode_t old_;
};

}  // namespace mtd::sys
