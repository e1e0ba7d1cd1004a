#include "tests/system/keeper_harness.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <type_traits>

namespace mtd::test {
namespace {

using Clock = std::chrono::steady_clock;

bool readable(int fd, std::chrono::milliseconds patience) {
  pollfd one{fd, POLLIN, 0};
  return poll(&one, 1, static_cast<int>(patience.count())) > 0;
}

std::chrono::milliseconds left(Clock::time_point until) {
  const auto now = Clock::now();
  return now >= until ? std::chrono::milliseconds(0)
                      : std::chrono::duration_cast<std::chrono::milliseconds>(until - now);
}

void copy_program(const std::string& from, const std::string& to) {
  if (link(from.c_str(), to.c_str()) == 0) return;
  const UniqueFd source(open(from.c_str(), O_RDONLY | O_CLOEXEC));
  const UniqueFd target(open(to.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0755));
  char block[65536];
  for (ssize_t n = read(source.get(), block, sizeof block); n > 0;
       n = read(source.get(), block, sizeof block)) {
    if (write(target.get(), block, static_cast<std::size_t>(n)) != n) {
      throw std::runtime_error("cannot copy " + from);
    }
  }
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts)
    result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

}  // namespace

keeper::Key key(std::uint64_t number) {
  return keeper::Key{1, static_cast<std::uint32_t>(number), number};
}

bool gone(pid_t pid) {
  return kill(pid, 0) != 0 && errno == ESRCH;
}

keeper::DaemonSignal next_signal(KeeperRun& run) {
  for (;;) {
    auto message = run.next();
    if (!message) throw std::runtime_error("no signal came");
    if (const auto* signal = std::get_if<keeper::DaemonSignal>(&*message)) return *signal;
  }
}

std::string read_all(int fd) {
  std::string all;
  char block[4096];
  for (ssize_t n = read(fd, block, sizeof block); n > 0; n = read(fd, block, sizeof block)) {
    all.append(block, static_cast<std::size_t>(n));
  }
  return all;
}

Pipe make_pipe() {
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

KeeperRun::KeeperRun(Start start) {
  char name[] = "/tmp/mtd-keeper-XXXXXX";
  if (mkdtemp(name) == nullptr) throw std::runtime_error("mkdtemp");
  directory_ = name;
  chmod(name, 0755);
  copy_program(start.quick ? KEEPER_QUICK_BINARY : MTD_BINARY, directory_ + "/mtd");
  copy_program(KEEPER_ROLE_BINARY, directory_ + "/mtd-supervisor");
  copy_program(KEEPER_WORKER_BINARY, directory_ + "/worker");
  const std::string socket_path = directory_ + "/test.sock";
  listener_.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, socket_path.c_str(), sizeof address.sun_path - 1);
  if (bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener_.get(), 8) != 0) {
    throw std::runtime_error("bind");
  }
  chmod(socket_path.c_str(), 0777);
  std::vector<std::string> argv = start.prefix;
  argv.push_back(directory_ + "/mtd");
  for (const std::string& argument : start.arguments)
    argv.push_back(argument);
  std::vector<std::string> environment{"KEEPER_TEST_SOCKET=" + socket_path,
                                       "PATH=/usr/bin:/bin:/usr/sbin:/sbin",
                                       "ASAN_OPTIONS=detect_leaks=0"};
  for (const std::string& one : start.environment)
    environment.push_back(one);
  std::vector<char*> arguments = pointers(argv), variables = pointers(environment);
  pid_ = fork();
  if (pid_ == 0) {
    if (start.in_child) start.in_child();
    execvpe(arguments[0], arguments.data(), variables.data());
    _exit(126);
  }
  if (start.accept) accept_role();
}

KeeperRun::~KeeperRun() {
  if (role_ && !status_) {
    role_->link.finish(0);
    role_->control.reset();
    if (!wait_exit(std::chrono::seconds(15))) kill(pid_, SIGKILL);
  } else if (!status_) {
    kill(pid_, SIGKILL);
  }
  (void)wait_exit();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void KeeperRun::accept_role() {
  role_.reset();
  if (!readable(listener_.get(), kPatience)) throw std::runtime_error("no role was started");
  UniqueFd control(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  pid_t role_pid = 0;
  iovec part{&role_pid, sizeof role_pid};
  alignas(cmsghdr) char buffer[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = buffer;
  message.msg_controllen = sizeof buffer;
  if (recvmsg(control.get(), &message, MSG_CMSG_CLOEXEC) != sizeof role_pid ||
      CMSG_FIRSTHDR(&message) == nullptr) {
    throw std::runtime_error("the role handed over no socket");
  }
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
  role_.emplace(RoleEnd{sys::KeeperLink(UniqueFd(fd)), std::move(control), role_pid});
  auto first = next();
  if (!first || !std::holds_alternative<keeper::Hello>(*first))
    throw std::runtime_error("no hello");
  hello_ = std::get<keeper::Hello>(*first);
  auto second = next();
  if (!second || !std::holds_alternative<keeper::Programs>(*second))
    throw std::runtime_error("hello is not followed by what the keeper is");
}

void KeeperRun::end_role(int code) {
  const char byte = static_cast<char>(code);
  if (write(role_->control.get(), &byte, 1) != 1) throw std::runtime_error("the role is gone");
}

void KeeperRun::kill_role() {
  kill(role_->pid, SIGKILL);
}

std::optional<int> KeeperRun::wait_exit(std::chrono::seconds patience) {
  const auto until = Clock::now() + patience;
  while (!status_) {
    int status = 0;
    const pid_t got = waitpid(pid_, &status, WNOHANG);
    if (got == pid_ || got < 0) {
      status_ = status;
      break;
    }
    if (Clock::now() >= until) return std::nullopt;
    usleep(2000);
  }
  return status_;
}

std::optional<sys::KeeperMessage> KeeperRun::next(std::chrono::milliseconds patience) {
  const auto until = Clock::now() + patience;
  for (;;) {
    if (auto done = role_->link.flush(); !done) throw std::runtime_error(done.error().message);
    auto message = role_->link.receive();
    if (!message) throw std::runtime_error(message.error().message);
    if (message->has_value()) {
      note(**message);
      return std::move(*message);
    }
    pollfd one{role_->link.fd(),
               static_cast<short>(POLLIN | (role_->link.wants_write() ? POLLOUT : 0)), 0};
    if (poll(&one, 1, static_cast<int>(left(until).count())) <= 0) return std::nullopt;
  }
}

void KeeperRun::note(const sys::KeeperMessage& message) {
  if (const auto* entry = std::get_if<keeper::Entry>(&message))
    entries[entry->key.incarnation] = *entry;
  if (const auto* orphans = std::get_if<keeper::Orphans>(&message)) strangers = orphans->total;
  if (const auto* told = std::get_if<keeper::Deaths>(&message)) deaths = *told;
  if (std::holds_alternative<keeper::Ping>(message)) link().pong();  // alive, and reading
}

std::int32_t KeeperRun::ack(std::uint64_t serial) {
  while (auto message = next()) {
    const auto* ack = std::get_if<keeper::Ack>(&*message);
    if (ack != nullptr && ack->header.serial == serial) return ack->error;
  }
  throw std::runtime_error("no ack");
}

keeper::Entry KeeperRun::entry(const keeper::Key& of,
                               const std::function<bool(const keeper::Entry&)>& wanted) {
  const auto until = Clock::now() + kPatience;
  for (;;) {
    const auto known = entries.find(of.incarnation);
    if (known != entries.end() && wanted(known->second)) return known->second;
    if (!next(left(until))) throw std::runtime_error("the entry did not come");
  }
}

keeper::Entry KeeperRun::exited(const keeper::Key& of) {
  return entry(of, [](const keeper::Entry& e) {
    return e.state == keeper::EntryState::exited || e.state == keeper::EntryState::failed;
  });
}

keeper::Entry KeeperRun::running(const keeper::Key& of) {
  return entry(of, [](const keeper::Entry& e) { return e.state != keeper::EntryState::starting; });
}

std::vector<keeper::Entry> KeeperRun::list() {
  const std::uint64_t serial = link().list();
  std::vector<keeper::Entry> all;
  while (auto message = next()) {
    if (const auto* entry = std::get_if<keeper::Entry>(&*message)) {
      const auto same = std::find_if(all.begin(), all.end(), [entry](const keeper::Entry& one) {
        return one.key == entry->key;  // changed during the walk: told again
      });
      same == all.end() ? all.push_back(*entry) : void(*same = *entry);
    }
    const auto* end = std::get_if<keeper::ListEnd>(&*message);
    if (end != nullptr && end->header.serial == serial) return all;
  }
  throw std::runtime_error("no end of the list");
}

void KeeperRun::add_revision(std::uint64_t id, const sys::SpawnSpec& spec,
                             const std::vector<int>& fds) {
  auto memory = sys::encode(spec);
  if (!memory) throw std::runtime_error(memory.error().message);
  const off_t size = lseek(memory->get(), 0, SEEK_END);
  const std::int32_t error =
      ack(link().revision(id, memory->get(), static_cast<std::uint32_t>(size), fds));
  if (error != 0)
    throw std::runtime_error("the keeper refused the revision: " + std::to_string(error));
}

sys::SpawnSpec KeeperRun::worker(std::vector<std::string> arguments) const {
  sys::SpawnSpec spec;
  spec.executable = directory_ + "/worker";
  spec.command = std::move(arguments);
  spec.command.insert(spec.command.begin(), "worker");
  return spec;
}

keeper::Entry run_once(KeeperRun& run, const sys::SpawnSpec& spec, std::uint64_t number,
                       const std::vector<int>& fds, std::uint32_t timeout_ms) {
  run.add_revision(number, spec, fds);
  run.link().spawn(key(number), number, "pool", timeout_ms, -1);
  return run.exited(key(number));
}

bool has_strace() {
  return access("/usr/bin/strace", X_OK) == 0;
}

std::string read_file(const std::string& path) {
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return file ? read_all(file.get()) : std::string();
}

bool write_file(const std::string& path, const std::string& text) {
  const UniqueFd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return file && write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

std::string proc(pid_t pid, const char* file) {
  return read_file("/proc/" + std::to_string(pid) + "/" + file);
}

std::size_t open_descriptors(pid_t pid) {
  std::size_t count = 0;
  for (int fd = 0; fd < 2048; ++fd) {
    char target[64];
    const std::string path = "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(fd);
    if (readlink(path.c_str(), target, sizeof target) >= 0) ++count;
  }
  return count;
}

}  // namespace mtd::test
