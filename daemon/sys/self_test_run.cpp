#include "daemon/sys/self_test_run.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>

#include "common/exit_status.h"
#include "common/unique_fd.h"
#include "daemon/sys/clock.h"
#include "daemon/sys/program_check.h"

namespace mtd::sys {
namespace {

constexpr int kFirstInput = 3;
constexpr std::size_t kMostOutput = 4096;

struct Pipe {
  UniqueFd read, write;
  [[nodiscard]] bool open() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return false;
    read.reset(ends[0]);
    write.reset(ends[1]);
    return true;
  }
};

[[noreturn]] void execute(int program, const std::vector<std::string>& arguments,
                          const std::vector<int>& inputs, int output, int refusal) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::setsid();
  const int first_free = kFirstInput + static_cast<int>(inputs.size());
  // By way of high numbers: each may be another one's target.
  std::vector<int> high;
  for (const int fd : inputs)
    high.push_back(::fcntl(fd, F_DUPFD_CLOEXEC, 64));
  program = ::fcntl(program, F_DUPFD_CLOEXEC, 64);
  refusal = ::fcntl(refusal, F_DUPFD_CLOEXEC, 64);
  output = ::fcntl(output, F_DUPFD_CLOEXEC, 64);
  const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null >= 0) ::dup2(null, 0);
  ::dup2(output, 1);
  ::dup2(output, 2);
  for (std::size_t i = 0; i < high.size(); ++i)
    ::dup2(high[i], kFirstInput + static_cast<int>(i));
  ::dup3(program, first_free, O_CLOEXEC);
  ::dup3(refusal, first_free + 1, O_CLOEXEC);
  ::syscall(SYS_close_range, first_free + 2, ~0U, 0U);
  std::vector<const char*> words;
  for (const auto& argument : arguments)
    words.push_back(argument.c_str());
  words.push_back(nullptr);
  ::syscall(SYS_execveat, first_free, "", words.data(), environ, AT_EMPTY_PATH);
  const int error = errno;
  (void)!::write(first_free + 1, &error, sizeof error);
  ::_exit(127);
}

int milliseconds_until(Instant end) {
  return static_cast<int>(std::clamp<std::int64_t>(end.since(now()).count_ms() + 1, 0, 60'000));
}

// True: the program has closed its output in time.
bool read_output(int fd, Instant end, std::string& text) {
  for (;;) {
    pollfd one{fd, POLLIN, 0};
    const int wait = now() < end ? milliseconds_until(end) : 0;
    const int ready = ::poll(&one, 1, wait);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    std::array<char, 1024> block{};
    const ssize_t n = ::read(fd, block.data(), block.size());
    if (n <= 0) return true;
    const auto room = kMostOutput - std::min(kMostOutput, text.size());
    text.append(block.data(), std::min(static_cast<std::size_t>(n), room));
  }
}

// True: it has ended in time, with `status`.
bool wait_end(pid_t pid, Instant end, int& status) {
  for (;;) {
    const pid_t got = ::waitpid(pid, &status, WNOHANG);
    if (got == pid) return true;
    if ((got < 0 && errno != EINTR) || !(now() < end)) return false;
    ::poll(nullptr, 0, 5);
  }
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

Result<ProgramVersion> parse(const std::string& name, const std::string& text) {
  const std::string line = first_line(text);
  const std::string middle = " protocol ";
  const auto at = line.find(middle);
  ProgramVersion version;
  if (line.rfind(name + " ", 0) == 0 && at != std::string::npos && at > name.size() + 1) {
    version.version = line.substr(name.size() + 1, at - name.size() - 1);
    const char* const end = line.data() + line.size();
    const auto number = std::from_chars(line.data() + at + middle.size(), end, version.protocol);
    if (number.ec == std::errc() && number.ptr == end) return version;
  }
  return Error{"it is no " + name + ": its self-test says \"" + line + "\""};
}

}  // namespace

Result<ProgramVersion> run_self_test(int program, const std::string& name,
                                     const std::vector<std::string>& arguments,
                                     const std::vector<int>& inputs) {
  Pipe output, refusal;
  if (!output.open() || !refusal.open()) return Error::from_errno("make a pipe", errno);
  std::vector<std::string> words{name, "--self-test"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  const pid_t pid = ::fork();
  if (pid < 0) return Error::from_errno("start the self-test", errno);
  if (pid == 0) execute(program, words, inputs, output.write.get(), refusal.write.get());
  output.write.reset();
  refusal.write.reset();
  const Instant end = now() + kSelfTestTime;
  std::string text;
  int status = 0;
  const bool ended = read_output(output.read.get(), end, text) && wait_end(pid, end, status);
  ::kill(-pid, SIGKILL);  // and whatever it has started
  ::kill(pid, SIGKILL);
  if (!ended) {
    ::waitpid(pid, &status, 0);
    return Error{"its self-test did not end within " + format_duration_brief(kSelfTestTime)};
  }
  int error = 0;
  if (::read(refusal.read.get(), &error, sizeof error) == sizeof error) {
    return Error::from_errno("it cannot be executed", error);
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    std::replace(text.begin(), text.end(), '\n', ' ');
    return Error{"its self-test failed: " + ExitStatus::from_wait(status).text() +
                 (text.empty() ? "" : ": " + text)};
  }
  return parse(name, text);
}

}  // namespace mtd::sys
