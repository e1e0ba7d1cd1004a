// A cgroup of the v1 freezer: what is frozen in it does not even die of SIGKILL, as a process that
// is stuck in the kernel. Thawed and removed with this object.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "tests/system/keeper_harness.h"

namespace mtd::test {

class Freezer {
 public:
  Freezer() : path_("/sys/fs/cgroup/freezer/mtd-keeper-" + std::to_string(getpid())) {
    usable_ = mkdir(path_.c_str(), 0755) == 0;
  }
  ~Freezer() {
    if (!usable_) return;
    thaw();
    for (int turn = 0; turn < 2000 && rmdir(path_.c_str()) != 0; ++turn)
      usleep(5000);
  }
  [[nodiscard]] bool usable() const { return usable_; }
  void freeze(pid_t pid) {
    put("cgroup.procs", std::to_string(pid));
    put("freezer.state", "FROZEN");
    for (int turn = 0; turn < 2000 && state() != "FROZEN\n"; ++turn)
      usleep(5000);
  }
  void thaw() { put("freezer.state", "THAWED"); }

 private:
  void put(const char* file, const std::string& text) {
    const UniqueFd fd(open((path_ + "/" + file).c_str(), O_WRONLY | O_CLOEXEC));
    (void)!write(fd.get(), text.data(), text.size());
  }
  std::string state() {
    const UniqueFd fd(open((path_ + "/freezer.state").c_str(), O_RDONLY | O_CLOEXEC));
    return read_all(fd.get());
  }
  std::string path_;
  bool usable_ = false;
};

}  // namespace mtd::test
