#include "ctl/private_daemon.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include <nlohmann/json.hpp>

#include "common/unique_fd.h"
#include "ctl/json.h"

namespace mtd::ctl {
namespace {

constexpr std::size_t kLongestBase = 60;  // of a directory, because a socket's path is short
constexpr std::int64_t kMaxBlockedTasks = 100000;
constexpr int kStopMs = 10000;   // a job that does not end is killed by mtd before that
constexpr int kStartMs = 60000;  // far more than it takes

std::string base_directory() {
  for (const char* name : {"XDG_RUNTIME_DIR", "TMPDIR"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0' || std::strlen(value) > kLongestBase) continue;
    if (::access(value, W_OK | X_OK) == 0) return value;
  }
  return "/tmp";
}

bool is_variable_name(std::string_view name) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
  for (const char c : name) {
    const bool fits =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    if (!fits) return false;
  }
  return !name.starts_with("MTD_");
}

// A job has the surroundings that mtctl has.
Json inherited_variables() {
  Json names = Json::array();
  for (char** at = environ; *at != nullptr; ++at) {
    const std::string_view entry(*at);
    const std::string_view name = entry.substr(0, entry.find('='));
    if (is_variable_name(name)) names.push_back(name);
  }
  return names;
}

// The configuration expands ${NAME}; these words are meant as they are.
std::string literal(const std::string& word) {
  std::string text;
  for (const char c : word)
    text += c == '$' ? std::string("$$") : std::string(1, c);
  return text;
}

// The root where it was removed: every command has one.
std::string current_directory() {
  std::error_code removed;
  const std::filesystem::path path = std::filesystem::current_path(removed);
  return removed ? "/" : path.string();
}

Json configuration_of(const PrivatePool& pool) {
  const mode_t mask = ::umask(022);
  ::umask(mask);
  char octal[8];
  std::snprintf(octal, sizeof octal, "%03o", static_cast<unsigned>(mask));
  Json command = Json::array();
  for (const std::string& word : pool.command)
    command.push_back(literal(word));
  Json spec{{"command", std::move(command)},
            {"workers", pool.workers},
            {"cwd", literal(current_directory())},
            {"umask", octal},
            {"env_pass", inherited_variables()},
            {"overlap", true},
            {"log", {{"to", "inherit"}}},
            {"stop", {{"timeout", "5s"}}},
            {"backoff", {{"initial", "10ms"}, {"max", "1s"}}},
            {"tasks",
             {{"mode", "exec"},
              {"durability", "process"},
              {"max_attempts", pool.max_attempts},
              {"retry_delay", "100ms"},
              {"max_queue", kMaxBlockedTasks},
              {"max_result", "8M"}}}};
  if (pool.max_tasks > 0) spec["recycle"] = {{"maxtasksperchild", pool.max_tasks}};
  return {{"pools", {{PrivateDaemon::kPool, std::move(spec)}}}};
}

// After `signal`.
bool ends_within(int pid, int signal, int milliseconds) {
  constexpr int kPauseMs = 10;
  ::kill(pid, signal);
  for (int waited = 0; waited < milliseconds; waited += kPauseMs) {
    if (::waitpid(pid, nullptr, WNOHANG) != 0) return true;
    ::poll(nullptr, 0, kPauseMs);
  }
  return false;
}

// In the child, between fork and exec.
[[noreturn]] void become(const std::array<const char*, 12>& words, int ready) {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  ::dup2(null, STDIN_FILENO);
  ::dup2(STDERR_FILENO, STDOUT_FILENO);  // only results are the answer of mtctl
  ::fcntl(ready, F_SETFD, 0);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execv(words[0], const_cast<char* const*>(words.data()));
  ::_exit(127);
}

// Between mtctl and its mtd, which refuses the parent-death signal: hands on what it is told, told
// itself when mtctl dies, and ends after mtd. QUIT means that mtd is to be killed. Where mtctl is
// gone nobody else removes the directory.
[[noreturn]] void guard(const std::array<const char*, 12>& words, int ready, int parent,
                        const std::string& directory) {
  sigset_t awaited;
  sigemptyset(&awaited);
  for (const int signal : {SIGTERM, SIGQUIT, SIGCHLD})
    sigaddset(&awaited, signal);
  ::sigprocmask(SIG_BLOCK, &awaited, nullptr);
  ::setsid();  // an interrupt from the keyboard is for mtctl, which ends its mtd itself
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(1);
  const int pid = ::fork();
  if (pid == 0) become(words, ready);
  ::close(ready);
  while (pid > 0 && ::waitpid(pid, nullptr, WNOHANG) == 0) {
    const int signal = ::sigwaitinfo(&awaited, nullptr);
    if (signal == SIGTERM) ::kill(pid, SIGTERM);
    if (signal == SIGQUIT) ::kill(pid, SIGKILL);
  }
  std::error_code ignored;
  if (::getppid() != parent) std::filesystem::remove_all(directory, ignored);
  ::_exit(0);
}

}  // namespace

std::string find_program(const std::string& name) {
  std::error_code ignored;
  const std::filesystem::path own = std::filesystem::read_symlink("/proc/self/exe", ignored);
  std::vector<std::string> places{(own.parent_path() / name).string(), MTD_LIBEXECDIR "/" + name,
                                  "/usr/libexec/mtd/" + name, "/usr/local/bin/" + name,
                                  "/usr/bin/" + name};
  // Tests put a stand-in here.
  if (const char* given = std::getenv("MTD_PROGRAM"); given != nullptr && name == "mtd") {
    places.insert(places.begin(), given);
  }
  for (const std::string& place : places) {
    if (::access(place.c_str(), X_OK) == 0) return place;
  }
  return {};
}

Outcome<PrivateDaemon> PrivateDaemon::start(const PrivatePool& pool) {
  const std::string program = find_program("mtd");
  if (program.empty()) {
    return Failure{CtlExit::failed, "the program mtd is neither beside mtctl nor installed"};
  }
  PrivateDaemon daemon;
  daemon.directory_ = base_directory() + "/mtd-map-XXXXXX";
  if (::mkdtemp(daemon.directory_.data()) == nullptr) {
    const std::string reason = daemon.directory_ + ": " + std::strerror(errno);
    daemon.directory_.clear();
    return Failure{CtlExit::failed, reason};
  }
  // The broker of a root's mtd is another user, and passes through on the way to its own directory.
  if (::geteuid() == 0) ::chmod(daemon.directory_.c_str(), 0711);
  const std::string path = daemon.directory_ + "/mtd.json";
  std::ofstream file(path);
  file << configuration_of(pool).dump(-1, ' ', false, Json::error_handler_t::replace);
  file.close();
  if (!file || ::chmod(path.c_str(), 0600) != 0) {
    return Failure{CtlExit::failed, path + ": " + std::strerror(errno)};
  }
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return Failure{CtlExit::failed, std::string("pipe: ") + std::strerror(errno)};
  }
  const UniqueFd ready(ends[0]);
  UniqueFd theirs(ends[1]);
  const std::string run = daemon.runtime_directory();
  const std::string state = daemon.directory_ + "/state";
  const std::string number = std::to_string(theirs.get());
  const std::array<const char*, 12> words{
      program.c_str(), "--config",   path.c_str(),   "--runtime-dir", run.c_str(), "--state-dir",
      state.c_str(),   "--ready-fd", number.c_str(), "--log-level",   "error",     nullptr};
  const int parent = ::getpid();
  daemon.pid_ = ::fork();
  if (daemon.pid_ < 0)
    return Failure{CtlExit::failed, std::string("fork: ") + std::strerror(errno)};
  if (daemon.pid_ == 0) guard(words, theirs.get(), parent, daemon.directory_);
  theirs.reset();
  char newline = 0;
  pollfd entry{ready.get(), POLLIN, 0};
  int said = 0;
  do {
    said = ::poll(&entry, 1, kStartMs);
  } while (said < 0 && errno == EINTR);
  if (said != 1 || ::read(ready.get(), &newline, 1) != 1) {
    return Failure{CtlExit::failed, "a private mtd did not start; what it said stands above"};
  }
  return daemon;
}

PrivateDaemon::PrivateDaemon(PrivateDaemon&& other) noexcept
    : directory_(std::exchange(other.directory_, {})), pid_(std::exchange(other.pid_, -1)) {}

PrivateDaemon::~PrivateDaemon() {
  if (pid_ > 0 && !ends_within(pid_, SIGTERM, kStopMs)) {
    // The second TERM kills what is left; without the keeper the supervisor does.
    if (!ends_within(pid_, SIGTERM, kStopMs) && !ends_within(pid_, SIGQUIT, kStopMs)) {
      ::kill(-pid_, SIGKILL);  // the guard itself is stuck: its session is mtd's, too
      ::waitpid(pid_, nullptr, 0);
    }
  }
  if (!directory_.empty()) {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
}

}  // namespace mtd::ctl
