#include <mtd/worker.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include <nlohmann/json.hpp>

#include "client/adapter/child.h"
#include "client/adapter/modes.h"
#include "common/escape.h"
#include "common/varlink_json.h"

namespace mtd::adapter {
namespace {

constexpr int kProbeMs = 10000;  // a program that does not answer a line by then never will

std::string line_of(const Task& task) {
  if (task.body()) return *task.body();
  std::string line;
  for (const std::string& word : task.words())
    line += (line.empty() ? "" : " ") + word;
  return line;
}

class FilterMode {
 public:
  explicit FilterMode(const Settings& settings) : settings_(settings) {}

  int run() {
    if (!start()) return 1;
    if (settings_.probe && !probe()) return 1;
    Result<Worker> worker = Worker::from_environment();
    if (!worker) return complain(worker.error().message), 2;
    if (const Result<void> said = worker->ready(); !said) return complain(said.error().message), 1;
    return serve(*worker);
  }

 private:
  bool start() {
    Command command;
    // Most programs buffer what they write into a pipe; these two switch that off where it can be.
    command.words = {"stdbuf", "-oL"};
    command.words.insert(command.words.end(), settings_.command.begin(), settings_.command.end());
    command.environment = environment_with({"PYTHONUNBUFFERED=1"});
    command.input = Stream::pipe;
    Result<Child> child = Child::start(command);
    if (!child) {
      complain("cannot execute " + child.error().message);
      return false;
    }
    child_ = *std::move(child);
    return true;
  }

  bool probe() {
    send(settings_.probe_line);
    while (!take_line()) {
      pollfd entry{child_.output.get(), POLLIN, 0};
      if (::poll(&entry, 1, kProbeMs) == 0) {
        complain("the filter has not answered the line '" +
                 escape_for_terminal(settings_.probe_line) +
                 "' within 10s: it keeps its output back, or gives no line for this one. Choose "
                 "another line with --probe, or switch the question off with --no-probe");
        child_.signal_group(SIGKILL);
        return false;
      }
      if (!read_some(child_.output.get(), output_, settings_.max_result + 1) && !has_line()) {
        complain("the filter ended instead of answering a line");
        return false;
      }
    }
    return true;
  }

  int serve(Worker& worker) {
    for (;;) {
      if (!task_) {
        Result<std::optional<Task>> task = worker.next();
        if (!task) return complain(task.error().message), 1;
        if (*task) {
          begin(worker, **std::move(task));
          continue;
        }
        if (worker.is_over()) return 0;
      }
      wait(worker);
      if (const std::optional<int> code = attend(worker)) return *code;
    }
  }

  void begin(Worker& worker, Task task) {
    std::string line = line_of(task);
    if (line.find('\n') != std::string::npos) {
      Failed failed;
      failed.message = "a filter takes one line, and this task has several";
      failed.type = "line";
      failed.retry = false;
      tell(worker, task, failed);
      return;
    }
    task_.emplace(std::move(task));
    send(std::move(line));
  }

  void send(std::string line) {
    input_ = std::move(line) + "\n";
    rest_ = input_;
  }

  // Like write_some(), but the pipe stays open for the next line.
  void write() {
    while (!rest_.empty()) {
      const ssize_t sent = ::write(child_.input.get(), rest_.data(), rest_.size());
      if (sent <= 0) return;
      rest_.remove_prefix(static_cast<std::size_t>(sent));
    }
  }

  void wait(const Worker& worker) {
    write();
    std::array<pollfd, 4> entries{{{worker.fd(), POLLIN, 0},
                                   {ends_.fd(), POLLIN, 0},
                                   {rest_.empty() ? -1 : child_.input.get(), POLLOUT, 0},
                                   {child_.output.get(), POLLIN, 0}}};
    ::poll(entries.data(), entries.size(), -1);
  }

  // A value: the adapter's exit code. A filter that has ended is replaced together with it.
  std::optional<int> attend(Worker& worker) {
    ends_.clear();
    write();
    if (child_.output.valid() &&
        !read_some(child_.output.get(), output_, settings_.max_result + 1)) {
      child_.output.reset();
    }
    if (task_) {
      if (const std::optional<std::string> line = take_line()) {
        tell(worker, *task_, answer_of(*line));
        task_.reset();
      } else if (output_.size() > settings_.max_result) {
        return give_up(
            worker, "its line is longer than " + std::to_string(settings_.max_result) + " bytes");
      }
    }
    if (const std::optional<ExitStatus> end = child_.take_end()) return ended(worker, *end);
    if (!task_) return std::nullopt;
    const Result<std::optional<Task>> another = worker.next();
    if (!another) return complain(another.error().message), 1;
    // A line cannot be called back: the filter is ended, and with it the adapter.
    if (worker.next_cancelled()) return give_up(worker, "cancelled");
    return std::nullopt;
  }

  int give_up(Worker& worker, const std::string& why) {
    child_.signal_group(SIGKILL);
    Failed failed;
    failed.message = why;
    failed.type = "line";
    failed.retry = false;
    tell(worker, *task_, failed);
    return 1;
  }

  int ended(Worker& worker, const ExitStatus& end) {
    if (task_) {
      Failed failed;
      failed.message = "the filter ended with " + end.text() + " instead of answering";
      failed.type = "filter";
      failed.crash = true;
      if (end.signalled()) failed.signal = end.signal()->value;
      if (end.exited()) failed.exit = *end.code();
      tell(worker, *task_, failed);
    }
    complain("the filter ended with " + end.text());
    return 1;
  }

  static Answer answer_of(const std::string& line) {
    if (!is_valid_utf8(line)) return Done::bytes(line);
    std::string text = varlink::to_text(nlohmann::json(line));
    return text.size() < 60000 ? Done::json(std::move(text)) : Done::bytes(line);
  }

  [[nodiscard]] bool has_line() const { return output_.find('\n') != std::string::npos; }

  std::optional<std::string> take_line() {
    write();
    const std::size_t end = output_.find('\n');
    if (end == std::string::npos) return std::nullopt;
    std::string line = output_.substr(0, end);
    output_.erase(0, end + 1);
    return line;
  }

  static void tell(Worker& worker, const Task& task, const Answer& answer) {
    if (const Result<void> told = worker.answer(task, answer); !told) {
      complain(told.error().message);
    }
  }

  const Settings& settings_;
  ChildEnds ends_;
  Child child_;
  std::optional<Task> task_;
  std::string input_;
  std::string_view rest_;
  std::string output_;
};

}  // namespace

int run_filter(const Settings& settings) {
  return FilterMode(settings).run();
}

}  // namespace mtd::adapter
