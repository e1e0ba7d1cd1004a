#include <mtd/worker.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <optional>
#include <string_view>

#include "client/adapter/child.h"
#include "client/adapter/modes.h"

namespace mtd::adapter {
namespace {

constexpr std::size_t kTail = 2000;  // of what the command wrote as errors, for the failure's text
constexpr std::size_t kMaxPass = 1 << 20;  // of it passed on in one go

std::int64_t now_ms() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return std::int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1'000'000;
}

// One task at work.
struct Job {
  Task task;
  Child child;
  std::string_view input;
  std::string output;
  std::string error_tail;
  std::string cancelled;  // why
  std::optional<std::int64_t> kill_at_ms;
  std::optional<ExitStatus> end;
};

std::string last_line(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' '))
    text.remove_suffix(1);
  const std::size_t begin = text.rfind('\n');
  return std::string(begin == std::string_view::npos ? text : text.substr(begin + 1));
}

class ExecMode {
 public:
  ExecMode(Worker& worker, const Settings& settings) : worker_(worker), settings_(settings) {}

  int run() {
    for (;;) {
      if (!job_ && worker_.is_over()) return 0;
      if (!job_) {
        Result<std::optional<Task>> task = worker_.next();
        if (!task) return complain(task.error().message), 1;
        if (*task) {
          start(**std::move(task));
          continue;
        }
        if (worker_.is_over()) return 0;
      }
      wait();
      if (const int code = attend(); code != 0) return code;
    }
  }

 private:
  void start(Task task) {
    Command command;
    command.words = command_for(settings_.command, task.words());
    command.environment = environment_with({"MTD_TASK_ID=" + std::to_string(task.id()),
                                            "MTD_TASK_ATTEMPT=" + std::to_string(task.attempt())});
    command.input = task.body() ? Stream::pipe : Stream::null;
    command.errors = Stream::pipe;
    Result<Child> child = Child::start(command);
    if (!child) {
      Failed failed;
      failed.message = "cannot execute " + child.error().message;
      failed.type = "exec";
      // A command that is not there stays away; a kernel that has no memory may have some later.
      const int error = child.error().errno_value;
      failed.retry = error == EAGAIN || error == ENOMEM || error == EMFILE || error == ENFILE;
      tell(task, failed);
      return;
    }
    job_.emplace();
    job_->task = std::move(task);
    job_->child = *std::move(child);
    if (job_->task.body()) job_->input = *job_->task.body();
    if (job_->input.empty()) job_->child.input.reset();
  }

  void wait() {
    std::array<pollfd, 5> entries{{{worker_.fd(), POLLIN, 0},
                                   {ends_.fd(), POLLIN, 0},
                                   {job_ ? job_->child.input.get() : -1, POLLOUT, 0},
                                   {job_ ? job_->child.output.get() : -1, POLLIN, 0},
                                   {job_ ? job_->child.errors.get() : -1, POLLIN, 0}}};
    std::int64_t limit = -1;
    if (job_ && job_->kill_at_ms) limit = std::max<std::int64_t>(0, *job_->kill_at_ms - now_ms());
    ::poll(entries.data(), entries.size(), static_cast<int>(limit));
  }

  // Whatever has come. Not 0: the exit code of the adapter.
  int attend() {
    ends_.clear();
    if (!job_) return 0;
    Job& job = *job_;
    if (job.child.input.valid()) write_some(job.child.input, job.input);
    if (!job.end) job.end = job.child.take_end();
    pass_streams(job);
    if (job.end) {
      tell(job.task, verdict(job));
      job_.reset();
      return 0;
    }
    if (const int code = take_cancels(job); code != 0) return code;
    if (job.kill_at_ms && now_ms() >= *job.kill_at_ms) {
      job.kill_at_ms.reset();
      job.child.signal_group(SIGKILL);
    }
    return 0;
  }

  void pass_streams(Job& job) {
    if (job.child.output.valid() &&
        !read_some(job.child.output.get(), job.output, settings_.max_result + 1)) {
      job.child.output.reset();
    }
    if (!job.child.errors.valid()) return;
    std::string text;
    const bool goes_on = read_some(job.child.errors.get(), text, kMaxPass);
    for (std::string_view rest = text; !rest.empty();) {
      const ssize_t written = ::write(STDERR_FILENO, rest.data(), rest.size());
      if (written <= 0) break;
      rest.remove_prefix(static_cast<std::size_t>(written));
    }
    job.error_tail += text;
    if (job.error_tail.size() > kTail) job.error_tail.erase(0, job.error_tail.size() - kTail);
    if (!goes_on) job.child.errors.reset();
  }

  int take_cancels(Job& job) {
    // A second task never comes before this one is answered: the credit is 1.
    const Result<std::optional<Task>> task = worker_.next();
    if (!task) {
      job.child.signal_group(SIGKILL);
      return complain(task.error().message), 1;
    }
    while (const auto cancelled = worker_.next_cancelled()) {
      if (cancelled->id != job.task.id()) continue;
      job.cancelled = cancelled->reason.empty() ? "user" : cancelled->reason;
      job.child.signal_group(SIGTERM);
      job.kill_at_ms = now_ms() + cancelled->grace_ms * 4 / 5;
    }
    return 0;
  }

  Answer verdict(Job& job) const {
    Failed failed;
    failed.type = "exit";
    if (job.end->signalled()) {
      failed.signal = job.end->signal()->value;
      failed.message = "the command ended with " + job.end->text();
      failed.type = "signal";
      failed.crash = job.cancelled.empty();
    } else if (const int code = *job.end->code(); verdict_of(code) == Verdict::done) {
      if (job.output.size() <= settings_.max_result) return Done::bytes(std::move(job.output));
      failed.message =
          "the command wrote more than " + std::to_string(settings_.max_result) + " bytes";
      failed.type = "too_big";
      failed.retry = false;
      return failed;
    } else {
      failed.exit = code;
      failed.retry = verdict_of(code) == Verdict::retry;
      failed.message = "exit " + std::to_string(code);
      if (const std::string line = last_line(job.error_tail); !line.empty()) {
        failed.message += ": " + line;
      }
    }
    failed.trace = job.error_tail;
    return failed;
  }

  void tell(const Task& task, const Answer& answer) {
    if (const Result<void> told = worker_.answer(task, answer); !told) {
      complain(told.error().message);
    }
  }

  Worker& worker_;
  const Settings& settings_;
  ChildEnds ends_;
  std::optional<Job> job_;
};

}  // namespace

int run_exec(const Settings& settings) {
  Result<Worker> worker = Worker::from_environment();
  if (!worker) return complain(worker.error().message), 2;
  if (const Result<void> said = worker->ready(); !said) return complain(said.error().message), 1;
  return ExecMode(*worker, settings).run();
}

}  // namespace mtd::adapter
