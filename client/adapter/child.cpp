#include "client/adapter/child.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace mtd::adapter {
namespace {

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) return Error::from_errno("pipe", errno);
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// `theirs` becomes the child's standard stream `number`, `ours` stays here.
struct Ends {
  UniqueFd ours;
  UniqueFd theirs;
};

Result<Ends> make_stream(Stream stream, int number) {
  if (stream == Stream::inherit) return Ends{};
  if (stream == Stream::null) {
    UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!null) return Error::from_errno("/dev/null", errno);
    return Ends{UniqueFd(), std::move(null)};
  }
  Result<Pipe> pipe = make_pipe();
  if (!pipe) return pipe.error();
  Ends ends = number == STDIN_FILENO ? Ends{std::move(pipe->write), std::move(pipe->read)}
                                     : Ends{std::move(pipe->read), std::move(pipe->write)};
  ::fcntl(ends.ours.get(), F_SETFL, O_NONBLOCK);
  return ends;
}

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> result;
  result.reserve(words.size() + 1);
  for (const std::string& word : words)
    result.push_back(const_cast<char*>(word.c_str()));
  result.push_back(nullptr);
  return result;
}

// In the child, between fork and exec: plain calls only. Writes errno to `failure` and ends.
[[noreturn]] void become(char* const* words, char* const* environment,
                         const std::array<int, 3>& streams, int failure, int parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);
  ::setpgid(0, 0);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  for (int number = 0; number < 3; ++number) {
    if (streams[static_cast<std::size_t>(number)] >= 0) {
      ::dup2(streams[static_cast<std::size_t>(number)], number);
    }
  }
  ::execvpe(words[0], words, environment);
  const int error = errno;
  (void)!::write(failure, &error, sizeof error);
  ::_exit(127);
}

}  // namespace

Result<Child> Child::start(const Command& command) {
  Result<Ends> input = make_stream(command.input, STDIN_FILENO);
  if (!input) return input.error();
  Result<Ends> output = make_stream(command.output, STDOUT_FILENO);
  if (!output) return output.error();
  Result<Ends> errors = make_stream(command.errors, STDERR_FILENO);
  if (!errors) return errors.error();
  Result<Pipe> failure = make_pipe();
  if (!failure) return failure.error();
  const std::vector<char*> words = pointers(command.words);
  const std::vector<char*> environment = pointers(command.environment);
  const int parent = ::getpid();
  const int pid = ::fork();
  if (pid < 0) return Error::from_errno("fork", errno);
  if (pid == 0) {
    become(words.data(), environment.data(),
           {input->theirs.get(), output->theirs.get(), errors->theirs.get()}, failure->write.get(),
           parent);
  }
  failure->write.reset();
  int error = 0;
  ssize_t got = 0;
  do {
    got = ::read(failure->read.get(), &error, sizeof error);
  } while (got < 0 && errno == EINTR);
  if (got == static_cast<ssize_t>(sizeof error)) {
    ::waitpid(pid, nullptr, 0);
    return Error::from_errno(command.words.front(), error);
  }
  Child child;
  child.pid_ = pid;
  child.input = std::move(input->ours);
  child.output = std::move(output->ours);
  child.errors = std::move(errors->ours);
  return child;
}

std::optional<ExitStatus> Child::take_end() {
  if (pid_ < 0) return std::nullopt;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  // What it left in its group ends with it.
  ::kill(-pid_, SIGKILL);
  pid_ = -1;
  return ExitStatus::from_wait(status);
}

void Child::signal_group(int number) const {
  if (pid_ > 0) ::kill(-pid_, number);
}

ChildEnds::ChildEnds() {
  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &wanted, nullptr);
  fd_.reset(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
}

void ChildEnds::clear() const {
  signalfd_siginfo info{};
  while (::read(fd_.get(), &info, sizeof info) > 0) {
  }
}

bool read_some(int fd, std::string& into, std::size_t most) {
  std::array<char, 65536> block{};
  for (;;) {
    const ssize_t got = ::read(fd, block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno == EAGAIN;
    if (got == 0) return false;
    const std::size_t room = into.size() < most ? most - into.size() : 0;
    into.append(block.data(), std::min(room, static_cast<std::size_t>(got)));
    if (static_cast<std::size_t>(got) > room) into.resize(most);
    if (static_cast<std::size_t>(got) < block.size()) return true;
  }
}

void write_some(UniqueFd& fd, std::string_view& rest) {
  while (!rest.empty()) {
    const ssize_t sent = ::write(fd.get(), rest.data(), rest.size());
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return;
    if (sent < 0) break;  // it does not want the rest
    rest.remove_prefix(static_cast<std::size_t>(sent));
  }
  fd.reset();
}

}  // namespace mtd::adapter
