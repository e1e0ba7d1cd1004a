// ProgramCheck: are the files that an upgrade is to execute fit for it? In a child, because a file
// system may hang: it opens the new mtd and the new mtd-supervisor once, runs the self-test of each
// from the very descriptor, and passes both descriptors on. What they say is believed in one format
// only: "NAME VERSION protocol N" and exit code 0 within kSelfTestTime.
//
// The new supervisor is looked for where the new mtd will look for it: next to it, then in the
// directories for programs.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/time.h"
#include "common/unique_fd.h"
#include "daemon/sys/event_loop.h"

namespace mtd::sys {

inline constexpr Duration kSelfTestTime = Duration::seconds(10);

struct CheckRequest {
  std::string keeper_path;
  std::vector<std::string> arguments;  // of the supervisor, without its name
  UniqueFd table;                      // what the new mtd is to read
  UniqueFd configuration, state;       // what the new supervisor is to read
};

struct CheckedPrograms {
  UniqueFd keeper, supervisor;
  std::string version;
};

class ProgramCheck {
 public:
  // An Error says which file is wrong, and why.
  using Done = std::function<void(Result<CheckedPrograms>)>;

  // `done` runs once, from the loop; never after the ProgramCheck was destroyed, which ends it.
  [[nodiscard]] static Result<ProgramCheck> start(EventLoop& loop, CheckRequest request, Done done);
  ProgramCheck();
  ProgramCheck(ProgramCheck&&) noexcept;
  ProgramCheck& operator=(ProgramCheck&&) noexcept;
  ~ProgramCheck();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace mtd::sys
