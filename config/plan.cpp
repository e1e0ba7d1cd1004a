#include "config/plan.h"

#include <algorithm>
#include <set>

#include <nlohmann/json.hpp>

#include "config/keys.h"

namespace mtd::config {
namespace {

int strength(Apply apply) {
  switch (apply) {
    case Apply::unchanged:
      return 0;
    case Apply::hot:
      return 1;
    case Apply::rolling:
      return 2;
    case Apply::restart:
      return 3;
    case Apply::add:
    case Apply::remove:
      return 4;
  }
  return 0;
}

bool differs(const PoolKey& key, const PoolSpec& a, const PoolSpec& b) {
  if (key.get == nullptr) return false;
  if (key.info.path == "command" && a.executable != b.executable) return true;
  return key.get(a, key.info) != key.get(b, key.info);
}

PoolChange compare(const PoolSpec& current, const PoolSpec& wanted) {
  PoolChange change;
  change.pool = wanted.name;
  for (const Apply apply : {Apply::restart, Apply::rolling, Apply::hot}) {
    for (const PoolKey& key : pool_keys()) {
      if (key.info.apply != apply || !differs(key, current, wanted)) continue;
      change.keys.emplace_back(key.info.path);
      if (strength(apply) > strength(change.apply)) change.apply = apply;
    }
  }
  return change;
}

const PoolSpec* find_pool(const Configuration& configuration, const std::string& name) {
  for (const PoolSpec& pool : configuration.pools) {
    if (pool.name == name) return &pool;
  }
  return nullptr;
}

}  // namespace

Plan make_plan(const Configuration& current, const Configuration& wanted) {
  Plan plan;
  std::set<std::string> names;
  for (const Configuration* side : {&current, &wanted}) {
    for (const PoolSpec& pool : side->pools)
      names.insert(pool.name);
  }
  for (const std::string& name : names) {
    const PoolSpec* before = find_pool(current, name);
    const PoolSpec* after = find_pool(wanted, name);
    if (before == nullptr) {
      plan.pools.push_back({name, Apply::add, {}});
    } else if (after == nullptr) {
      plan.pools.push_back({name, Apply::remove, {}});
    } else {
      plan.pools.push_back(compare(*before, *after));
    }
  }
  for (const DaemonKey& key : daemon_keys()) {
    if (key.get(current.daemon, key.info) == key.get(wanted.daemon, key.info)) continue;
    auto& keys = key.info.apply == Apply::restart ? plan.daemon_restart_keys : plan.daemon_keys;
    keys.emplace_back(key.info.path);
  }
  return plan;
}

}  // namespace mtd::config
