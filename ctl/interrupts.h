// While one exists, an interrupt (INT, TERM, HUP) or a change of the window's size no longer acts
// on the process but makes a descriptor readable, so that a stream can end in good order.
#pragma once

#include <csignal>

#include "common/unique_fd.h"
#include "ctl/output.h"

namespace mtd::ctl {

enum class Interruption { none, stop, resized };

class Interrupts {
 public:
  Interrupts();
  // Lets `output` wait for its reader no longer than until an interrupt.
  explicit Interrupts(Output& output);
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  // What has come since the last call; stop wins.
  [[nodiscard]] Interruption take() const;
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  sigset_t before_{};
  UniqueFd fd_;
  UniqueFd stops_;  // readable until an interrupt is taken; never read itself
  Output* output_ = nullptr;
};

// Waits until `stream_fd` is readable, or interrupted. `output_fd`: its reader going away is
// `stop`.
[[nodiscard]] Interruption wait_for_input(int stream_fd, int output_fd,
                                          const Interrupts& interrupts);

}  // namespace mtd::ctl
