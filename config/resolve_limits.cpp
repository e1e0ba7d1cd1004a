// What the workers may use and do.
#include <algorithm>

#include "common/escape.h"
#include "config/pool_resolver.h"
#include "config/privileges.h"
#include "config/rlimits.h"

namespace mtd::config {

void PoolResolver::limits() {
  const Node* rlimits = node("rlimits");
  if (rlimits == nullptr) return;
  for (const Node& member : rlimits->as<Object>()->members) {
    if (is_ignored_key(member.name)) continue;
    const RlimitName* known = find_rlimit(member.name);
    if (known == nullptr) {
      const std::string_view close = closest_rlimit(member.name);
      fail(member.name_place, "rlimits",
           "unknown limit \"" + escape_for_terminal(member.name.substr(0, 64)) + "\"" +
               (close.empty() ? "; getrlimit(2) lists them"
                              : ", did you mean \"" + std::string(close) + "\"?"));
      continue;
    }
    auto limit = parse_rlimit(member);
    if (!limit) {
      fail(member.place, "rlimits." + member.name, limit.error().message);
    } else if (const std::uint64_t most = hard_limit(*known); limit->hard > most) {
      fail(member.place, "rlimits." + member.name,
           brief(member) + " is above mtd's own hard limit of " + std::to_string(most));
    } else {
      spec_.rlimits.push_back(std::move(*limit));
    }
  }
  std::sort(spec_.rlimits.begin(), spec_.rlimits.end(),
            [](const Rlimit& a, const Rlimit& b) { return a.name < b.name; });
}

void PoolResolver::sandbox() {
  SandboxSpec& sandbox = spec_.sandbox;
  if (const Node* paths = node("sandbox.read_only_paths")) {
    for (const std::string& written : texts_of(*paths)) {
      std::string path = path_of("sandbox.read_only_paths", written);
      if (!path.empty()) sandbox.read_only_paths.push_back(std::move(path));
    }
  }
  if (node("sandbox.no_new_privs") == nullptr) sandbox.no_new_privs = !sandbox.seccomp.empty();
  if (node("sandbox.ambient_capabilities") == nullptr)
    sandbox.ambient_capabilities = sandbox.capabilities;
  for (const PrivilegeProblem& problem : privilege_problems(spec_, own_privileges())) {
    problems_.warn(place_of(problem.path), "pools." + pool_.name + "." + std::string(problem.path) +
                                               ": " + problem.message);
  }
}

}  // namespace mtd::config
