#include "ctl/json_output.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/json_writer.h"

namespace mtd::ctl {
namespace {

using Names = std::vector<std::string_view>;

const Names kRoot{"api",    "cursor",      "time",   "daemon",     "pool",      "worker",
                  "pid",    "incarnation", "event",  "state",      "last_exit", "next_attempt_ms",
                  "detail", "missed",      "plan",   "config_rev", "pools",     "workers",
                  "limits", "host",        "before", "want",       "want_file"};
const Names kDaemon{
    "version",        "pid",          "supervisor_pid", "uptime_ms",     "config_rev",
    "config_in_sync", "config_error", "config_path",    "workers_ready", "workers_want",
    "stray",          "stale_facts",  "warnings"};
const Names kPool{
    "name",           "state",    "ok",       "message",   "elapsed_ms", "want",     "want_file",
    "ready",          "busy",     "idle",     "scaling",   "queue",      "restarts", "recycled",
    "spawn_failures", "revision", "outdated", "since",     "since_ms",   "note",     "stopped_by",
    "breaker",        "exited",   "killed",   "leftovers", "stuck",      "lines",    "workers"};
const Names kWorker{
    "id",      "name",      "pid",      "state",           "revision",     "incarnation",
    "started", "uptime_ms", "tasks",    "task_limit",      "current_task", "rss_bytes",
    "cpu_pct", "restarts",  "recycled", "next_attempt_ms", "status_text",  "probe_text",
    "cgroup",  "ending",    "retiring", "last_exit",       "exits"};
const Names kExit{"cause", "signal",      "signal_name", "code",          "core",
                  "at",    "planned",     "stage",       "errno",         "errno_name",
                  "pid",   "incarnation", "user_cpu_ms", "system_cpu_ms", "max_rss_bytes"};
const Names kOther{"min",
                   "max",
                   "spare",
                   "quiet_ms",
                   "need",
                   "by_hand",
                   "held_back",
                   "shrink_ms",
                   "open",
                   "retry_ms",
                   "crashes_in_window",
                   "limit",
                   "window_ms",
                   "name",
                   "used",
                   "unit",
                   "note",
                   "pool",
                   "apply",
                   "keys",
                   "pools",
                   "daemon_keys",
                   "daemon_restart_keys"};

// The names that may stand in one kind of object, sorted, each with its place in the documented
// order: members come sorted too, so that one walk over both finds the place of every member.
class Order {
 public:
  explicit Order(const Names& names) : size_(names.size()) {
    for (std::size_t place = 0; place < names.size(); ++place)
      places_.emplace(names[place], place);
  }

  // The members as they are to be printed: unknown ones come last, sorted.
  using Members = std::vector<const Json::object_t::value_type*>;
  [[nodiscard]] Members arrange(const Json::object_t& object) const {
    Members result(size_, nullptr);
    result.reserve(size_ + object.size());
    auto known = places_.begin();
    for (const auto& member : object) {
      while (known != places_.end() && known->first < member.first)
        ++known;
      if (known != places_.end() && known->first == member.first) {
        result[known->second] = &member;
      } else {
        result.push_back(&member);
      }
    }
    result.erase(std::remove(result.begin(), result.end(), nullptr), result.end());
    return result;
  }

 private:
  std::map<std::string_view, std::size_t> places_;
  std::size_t size_;
};

const Order& order_within(std::string_view parent) {
  static const Order root(kRoot), daemon(kDaemon), pool(kPool), worker(kWorker), exit(kExit),
      other(kOther);
  if (parent.empty()) return root;
  if (parent == "daemon") return daemon;
  if (parent == "pools") return pool;
  if (parent == "workers" || parent == "retiring") return worker;
  if (parent == "last_exit" || parent == "exits") return exit;
  return other;
}

class Printer {
 public:
  explicit Printer(JsonStyle style) : style_(style) {}

  // `parent`: the name of the member that the value, or the list around it, belongs to.
  void print(const Json& value, std::string_view parent) {
    if (const auto* object = value.get_ptr<const Json::object_t*>()) {
      print_object(*object, parent);
    } else if (const auto* array = value.get_ptr<const Json::array_t*>()) {
      print_array(*array, parent);
    } else if (const auto* text = value.get_ptr<const std::string*>()) {
      append_json_string(out_, *text, style_.ascii);
    } else if (const auto* count = value.get_ptr<const std::uint64_t*>()) {
      out_ += std::to_string(*count);
    } else if (const auto* number = value.get_ptr<const std::int64_t*>()) {
      out_ += std::to_string(*number);
    } else if (value.is_null()) {
      out_ += "null";
    } else {
      out_ += value.dump();
    }
  }
  [[nodiscard]] std::string take() { return std::move(out_); }

 private:
  void print_object(const Json::object_t& object, std::string_view parent) {
    List list(*this, '{', '}', object.empty());
    for (const auto* member : order_within(parent).arrange(object)) {
      list.next();
      append_json_string(out_, member->first, style_.ascii);
      out_ += style_.indented ? ": " : ":";
      print(member->second, member->first);
    }
  }

  void print_array(const Json::array_t& array, std::string_view parent) {
    List list(*this, '[', ']', array.empty());
    for (const Json& item : array) {
      list.next();
      print(item, parent);
    }
  }

  // Brackets, commas and indentation around the items of an object or array.
  class List {
   public:
    List(Printer& printer, char open, char close, bool empty)
        : printer_(printer), close_(close), empty_(empty) {
      printer_.out_ += open;
      ++printer_.depth_;
    }
    ~List() {
      --printer_.depth_;
      if (!empty_) printer_.new_line();
      printer_.out_ += close_;
    }
    List(const List&) = delete;
    List& operator=(const List&) = delete;
    void next() {
      if (!first_) printer_.out_ += ',';
      first_ = false;
      printer_.new_line();
    }

   private:
    Printer& printer_;
    char close_;
    bool empty_, first_ = true;
  };

  void new_line() {
    if (style_.indented) out_.append(1, '\n').append(2 * depth_, ' ');
  }

  JsonStyle style_;
  std::size_t depth_ = 0;
  std::string out_;
};

}  // namespace

std::string print_json(const Json& document, JsonStyle style) {
  Printer printer(style);
  printer.print(document, "");
  return printer.take() + "\n";
}

}  // namespace mtd::ctl
