#include "ctl/interrupts.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>

namespace mtd::ctl {

Interrupts::Interrupts() {
  sigset_t wanted;
  sigemptyset(&wanted);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGWINCH})
    sigaddset(&wanted, signal);
  sigprocmask(SIG_BLOCK, &wanted, &before_);
  fd_.reset(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
  sigdelset(&wanted, SIGWINCH);
  stops_.reset(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
}

Interrupts::Interrupts(Output& output) : Interrupts() {
  output_ = &output;
  output.heed(stops_.get());
}

Interrupts::~Interrupts() {
  if (output_ != nullptr) output_->heed(-1);
  sigprocmask(SIG_SETMASK, &before_, nullptr);
}

Interruption Interrupts::take() const {
  Interruption result = Interruption::none;
  signalfd_siginfo info{};
  while (::read(fd_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (info.ssi_signo != SIGWINCH) return Interruption::stop;
    result = Interruption::resized;
  }
  return result;
}

Interruption wait_for_input(int stream_fd, int output_fd, const Interrupts& interrupts) {
  for (;;) {
    std::array<pollfd, 3> entries{
        {{stream_fd, POLLIN, 0}, {interrupts.fd(), POLLIN, 0}, {output_fd, 0, 0}}};
    if (::poll(entries.data(), entries.size(), -1) < 0) continue;  // EINTR
    if ((entries[1].revents & POLLIN) != 0) {
      if (const Interruption what = interrupts.take(); what != Interruption::none) return what;
    }
    if ((entries[2].revents & (POLLERR | POLLHUP)) != 0) return Interruption::stop;
    if (entries[0].revents != 0) return Interruption::none;
  }
}

}  // namespace mtd::ctl
