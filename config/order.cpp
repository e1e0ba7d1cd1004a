#include "config/order.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

#include "common/names.h"

namespace mtd::config {
namespace {

// Depth first; each cycle is told once, beginning with its first pool in the order of names.
class CycleSearch {
 public:
  explicit CycleSearch(const std::vector<PoolSpec>& pools) {
    for (const PoolSpec& pool : pools)
      pools_[pool.name] = &pool;
  }
  std::vector<OrderProblem> run() {
    for (const auto& entry : pools_)
      visit(*entry.second);
    return std::move(problems_);
  }

 private:
  void visit(const PoolSpec& pool) {
    if (done_.count(pool.name) != 0) return;
    path_.push_back(pool.name);
    for (const Dependency& dependency : pool.depends_on) {
      const auto next = pools_.find(dependency.pool);
      if (next == pools_.end()) continue;
      const auto at = std::find(path_.begin(), path_.end(), dependency.pool);
      if (at == path_.end()) {
        visit(*next->second);
      } else {
        tell({at, path_.end()});
      }
    }
    path_.pop_back();
    done_.insert(pool.name);
  }
  void tell(std::vector<std::string> cycle) {
    std::rotate(cycle.begin(), std::min_element(cycle.begin(), cycle.end()), cycle.end());
    std::string text = "is a cycle: ";
    for (const std::string& name : cycle)
      text += name + " → ";
    const std::string& first = cycle.front();
    problems_.push_back({first, text + first + "; none of these pools could ever start"});
  }

  std::map<std::string, const PoolSpec*> pools_;
  std::vector<std::string> path_;
  std::set<std::string> done_;
  std::vector<OrderProblem> problems_;
};

}  // namespace

std::vector<OrderProblem> check_order(const std::vector<PoolSpec>& pools) {
  std::vector<OrderProblem> problems;
  std::vector<std::string_view> names;
  for (const PoolSpec& pool : pools)
    names.push_back(pool.name);
  for (const PoolSpec& pool : pools) {
    for (const Dependency& dependency : pool.depends_on) {
      if (std::find(names.begin(), names.end(), dependency.pool) != names.end()) continue;
      std::string message = "there is no pool \"" + dependency.pool + "\"";
      if (const auto close = closest_name(dependency.pool, names); !close.empty())
        message += ", did you mean \"" + std::string(close) + "\"?";
      problems.push_back({pool.name, std::move(message)});
    }
  }
  for (OrderProblem& problem : CycleSearch(pools).run())
    problems.push_back(std::move(problem));
  return problems;
}

}  // namespace mtd::config
