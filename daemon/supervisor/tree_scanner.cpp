#include "daemon/supervisor/tree_scanner.h"

#include <algorithm>
#include <utility>

#include "daemon/supervisor/revision.h"
#include "daemon/sys/clock.h"
#include "daemon/sys/proc.h"
#include "daemon/sys/proc_scan.h"

namespace mtd::supervisor {
namespace {

constexpr Duration kFirstDelay = Duration::milliseconds(20);
constexpr Duration kLastDelay = Duration::seconds(1);

}  // namespace

TreeScanner::TreeScanner(sys::EventLoop& loop,
                         const std::unordered_map<int, keeper::Key>& known_pids,
                         std::uint64_t instance, int keeper_pid)
    : loop_(loop),
      known_pids_(known_pids),
      prefix_(instance_prefix(instance)),
      keeper_pid_(keeper_pid) {
  auto timer = loop_.timer(sys::Priority::normal, [this] { look(); });
  if (timer) timer_ = std::move(*timer);
}

bool TreeScanner::has_strangers() const {
  const auto children = sys::children_of(keeper_pid_);
  if (!children) return true;  // not known
  return std::any_of(children->begin(), children->end(), [this](int pid) {
    return known_pids_.count(pid) == 0 && pid != sys::own_pid();
  });
}

void TreeScanner::watch(const std::string& tag, Answer answer) {
  // The answer is given later: whoever asks is in the middle of something.
  watched_[tag] = std::move(answer);
  delay_ = kFirstDelay;
  schedule(Duration());
}

void TreeScanner::forget(const std::string& tag) {
  watched_.erase(tag);
  to_kill_.erase(tag);
  killing_.erase(tag);
}

void TreeScanner::kill(const std::string& tag, Answer killed) {
  to_kill_[tag] = std::move(killed);
  schedule(Duration());
}

void TreeScanner::schedule(Duration delay) {
  if (looking_) return;
  const Instant at = sys::now() + delay;
  if (at < timer_.deadline()) timer_.arm(at);
}

void TreeScanner::look() {
  if (looking_ || (watched_.empty() && to_kill_.empty())) return;
  if (!has_strangers() && to_kill_.empty()) {
    done({});
    return;
  }
  looking_ = true;
  std::vector<std::string> tags;
  for (const auto& entry : to_kill_)
    tags.push_back(entry.first);
  killing_ = std::exchange(to_kill_, {});
  // The answer: whom it killed, an empty line, who lives.
  auto helper = sys::HelperProcess::start(
      loop_, sys::kHelperDeadline,
      [prefix = prefix_, tags = std::move(tags)] {
        const std::string killed = tags.empty() ? "" : sys::encode(sys::kill_tagged(tags));
        return killed + "\n" + sys::encode(sys::scan_tagged(prefix));
      },
      [this](Result<std::string> text) {
        looking_ = false;
        if (!text || text->empty()) return schedule(kLastDelay);
        const std::size_t gap = text->front() == '\n' ? 0 : text->find("\n\n") + 1;
        tell_killed(text->substr(0, gap));
        done(text->substr(gap + 1));
      });
  if (helper) {
    helper_ = std::move(*helper);
  } else {
    looking_ = false;
    schedule(kLastDelay);
  }
}

void TreeScanner::tell_killed(const std::string& text) {
  std::map<std::string, std::vector<ScannedProcess>> killed;
  for (auto& process : sys::decode_tagged(text)) {
    killed[process.tag].push_back({process.pid, std::move(process.comm)});
  }
  for (auto& [tag, answer] : std::exchange(killing_, {}))
    answer(killed[tag]);
}

void TreeScanner::done(const std::string& text) {
  std::map<std::string, std::vector<ScannedProcess>> living;
  for (auto& process : sys::decode_tagged(text)) {
    living[process.tag].push_back({process.pid, std::move(process.comm)});
  }
  std::vector<std::pair<Answer, std::vector<ScannedProcess>>> answers;
  for (auto at = watched_.begin(); at != watched_.end();) {
    const auto found = living.find(at->first);
    if (found == living.end()) {
      answers.emplace_back(std::move(at->second), std::vector<ScannedProcess>());
      at = watched_.erase(at);
    } else {
      answers.emplace_back(at->second, found->second);
      ++at;
    }
  }
  if (!watched_.empty() || !to_kill_.empty()) {
    schedule(to_kill_.empty() ? delay_ : Duration());
    delay_ = std::min(kLastDelay, delay_ + delay_);
  }
  for (auto& [answer, processes] : answers)
    answer(processes);
}

}  // namespace mtd::supervisor
