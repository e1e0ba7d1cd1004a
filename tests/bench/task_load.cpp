// bench-tasks QUEUE WORKERS WINDOW SECONDS WORK_US [PATH [POOL]]: loads a queue of tasks and prints
// one JSON object: tasks a second, and how long one takes from its put to the news of its end.
//   bare                      the reference: a dispatcher between processes and nothing else
//   beanstalk, redis-list, redis-stream      PATH: the server's socket
//   mtd                       PATH: of io.mtd.Tasks; WORKERS is the pool's business
#include "task_load.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>

namespace bench {

std::int64_t now_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

// A task: it takes so long, and no processor.
void work(unsigned us) {
  if (us == 0) return;
  timespec pause{us / 1'000'000, static_cast<long>(us % 1'000'000) * 1000};
  while (::nanosleep(&pause, &pause) != 0 && errno == EINTR) {
  }
}

void fail(const std::string& what) {
  std::fprintf(stderr, "bench-tasks: %s\n", what.c_str());
  std::exit(1);
}

// ---- Takers

Takers::Takers() {
  void* const memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("no memory");
  shared_ = new (memory) Shared();
}

Takers::~Takers() {
  for (const pid_t pid : pids_)
    ::kill(pid, SIGKILL);
  for (const pid_t pid : pids_)
    ::waitpid(pid, nullptr, 0);
}

pid_t Takers::begin() {
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) fail("fork");
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::prctl(PR_SET_TIMERSLACK, 1);
    if (::getppid() != parent) ::_exit(1);
  }
  return pid;
}

void Takers::did_one() {
  const std::uint32_t done = ++shared_->done;
  const std::uint32_t awaited = shared_->awaited.load();
  if (awaited != 0 && static_cast<std::int32_t>(done - awaited) >= 0)
    ::syscall(SYS_futex, &shared_->done, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

// With many in flight it sleeps until a quarter of them is done: to be woken for each would cost
// those who do them more than the tasks do.
std::size_t Takers::wait(std::size_t in_flight) {
  const std::uint32_t goal =
      seen_ + static_cast<std::uint32_t>(std::max<std::size_t>(in_flight / 4, 1));
  std::uint32_t done = shared_->done.load();
  if (done == seen_) {
    shared_->awaited = goal;
    while (static_cast<std::int32_t>((done = shared_->done.load()) - goal) < 0)
      ::syscall(SYS_futex, &shared_->done, FUTEX_WAIT, done, nullptr, nullptr, 0);
    shared_->awaited = 0;
  }
  const std::size_t more = done - seen_;
  seen_ = done;
  return more;
}

// ---- Text

Text::Text(const std::string& path)
    : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)), buffer_(64 * 1024) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) fail("a path that is too long: " + path);
  std::memcpy(address.sun_path, path.data(), path.size());
  if (fd_ < 0 || ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    fail("connect to " + path + ": " + std::strerror(errno));
}

Text::~Text() {
  ::close(fd_);
}

void Text::say(const std::string& text) {
  for (std::size_t sent = 0; sent < text.size();) {
    const ssize_t more = ::send(fd_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (more <= 0) fail("the server has gone");
    sent += static_cast<std::size_t>(more);
  }
}

void Text::fill() {
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  const ssize_t more = ::recv(fd_, buffer_.data() + end_, buffer_.size() - end_, 0);
  if (more <= 0) fail("the server has gone");
  end_ += static_cast<std::size_t>(more);
}

std::string Text::line() {
  for (;;) {
    const void* const found = ::memmem(buffer_.data() + begin_, end_ - begin_, "\r\n", 2);
    if (found == nullptr) {
      fill();
      continue;
    }
    const auto at = static_cast<std::size_t>(static_cast<const char*>(found) - buffer_.data());
    std::string text(buffer_.data() + begin_, at - begin_);
    begin_ = at + 2;
    return text;
  }
}

void Text::skip(std::size_t bytes) {
  while (end_ - begin_ < bytes)
    fill();
  begin_ += bytes;
}

namespace {

// ---- the loop

struct Found {
  std::vector<std::int64_t> took_ns;
  std::size_t ended = 0;
  std::int64_t ns = 0;
};

// The k-th end is taken for that of the k-th put: right for one in flight, right on the average
// for many.
Found run(TaskQueue& queue, const Load& load, double seconds) {
  Found found;
  found.took_ns.reserve(1 << 20);
  std::deque<std::int64_t> put;
  const std::int64_t begin = now_ns();
  const std::int64_t end = begin + static_cast<std::int64_t>(seconds * 1e9);
  for (std::int64_t now = begin; now < end || !put.empty();) {
    if (now < end) {
      const std::size_t room = load.window - put.size();
      put.insert(put.end(), room, now);
      queue.submit(room);
    }
    const std::size_t ended = queue.ended(put.size());
    now = now_ns();
    for (std::size_t i = 0; i < ended; ++i) {
      found.took_ns.push_back(now - put.front());
      put.pop_front();
    }
    found.ended += ended;
  }
  found.ns = now_ns() - begin;
  return found;
}

double quantile_us(std::vector<std::int64_t>& values, double fraction) {
  if (values.empty()) return 0;
  const auto at = std::min(values.size() - 1,
                           static_cast<std::size_t>(static_cast<double>(values.size()) * fraction));
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
  return static_cast<double>(values[at]) / 1000;
}

std::unique_ptr<TaskQueue> make(const std::string& name, const Load& load, const std::string& path,
                                const std::string& pool) {
  if (name == "bare") return make_bare(load);
  if (name == "beanstalk") return make_beanstalk(load, path);
  if (name == "redis-list") return make_redis_list(load, path);
  if (name == "redis-stream") return make_redis_stream(load, path);
  if (name == "mtd") return make_mtd(load, path, pool);
  fail("no queue " + name);
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  using namespace bench;
  if (argc < 6) fail("QUEUE WORKERS WINDOW SECONDS WORK_US [PATH [POOL]]");
  Load load;
  load.workers = std::strtoul(argv[2], nullptr, 10);
  load.window = std::strtoul(argv[3], nullptr, 10);
  load.seconds = std::strtod(argv[4], nullptr);
  load.work_us = static_cast<unsigned>(std::strtoul(argv[5], nullptr, 10));
  if (load.workers == 0 || load.window == 0) fail("WORKERS and WINDOW are 1 at least");
  const auto queue = make(argv[1], load, argc > 6 ? argv[6] : "", argc > 7 ? argv[7] : "");
  (void)run(*queue, load, std::min(0.2, load.seconds / 4));
  Found found = run(*queue, load, load.seconds);
  const double p50 = quantile_us(found.took_ns, 0.5), p99 = quantile_us(found.took_ns, 0.99);
  std::printf("{\"tasks\":%zu,\"per_second\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f}\n", found.ended,
              static_cast<double>(found.ended) * 1e9 / static_cast<double>(found.ns), p50, p99);
  return 0;
}
