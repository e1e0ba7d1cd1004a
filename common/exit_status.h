// ExitStatus: what wait(2) said about the end of a process; a value, nothing is asked of the
// kernel. Exactly one of exited() and signalled() holds for every status that waitpid without
// WUNTRACED gives.
#pragma once

#include <optional>
#include <string>

#include "common/signals.h"

namespace mtd {

class ExitStatus {
 public:
  ExitStatus() = default;  // exit 0
  [[nodiscard]] static ExitStatus from_wait(int wait_status) { return ExitStatus(wait_status); }
  [[nodiscard]] static ExitStatus of_code(int code) { return ExitStatus((code & 0xFF) << 8); }
  [[nodiscard]] static ExitStatus of_signal(SignalNumber signal, bool core = false) {
    return ExitStatus((signal.value & 0x7F) | (core ? 0x80 : 0));
  }

  [[nodiscard]] bool exited() const;
  [[nodiscard]] bool signalled() const;
  [[nodiscard]] std::optional<int> code() const;             // 0..255 when exited
  [[nodiscard]] std::optional<SignalNumber> signal() const;  // when signalled
  [[nodiscard]] bool core_dumped() const;
  [[nodiscard]] int wait_status() const { return status_; }

  // "exit 3", "signal 9 (KILL)", "signal 11 (SEGV), core dumped"; "wait status 0x137f" for a stop.
  [[nodiscard]] std::string text() const;

  bool operator==(const ExitStatus&) const = default;

 private:
  explicit ExitStatus(int wait_status) : status_(wait_status) {}
  int status_ = 0;
};

}  // namespace mtd
