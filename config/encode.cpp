#include <nlohmann/json.hpp>

#include "common/names.h"
#include "config/cross_check.h"
#include "config/document.h"
#include "config/expand.h"
#include "config/listen.h"
#include "config/loader.h"
#include "config/problems.h"
#include "config/read_keys.h"
#include "config/resolve.h"
#include "config/resolved_json.h"
#include "config/rlimits.h"

namespace mtd::config {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kMaxId = 0xFFFFFFFEU;  // one less than (uid_t)-1
constexpr std::size_t kMaxEncoded = 64 * 1024 * 1024;

// Keys with a member of their own, as the loader would read them.
template <class Spec>
Json plain_keys(const std::vector<Key<Spec>>& keys, const Spec& spec) {
  Json json = Json::object();
  for (const auto& key : keys) {
    if (key.set == nullptr || key.get == nullptr) continue;
    Json value = key.get(spec, key.info);
    if (value.is_null()) continue;
    std::string pointer = "/" + std::string(key.info.path);
    for (char& c : pointer) {
      if (c == '.') c = '/';
    }
    json[Json::json_pointer(pointer)] = std::move(value);
  }
  return json;
}

Json json_identity(const std::optional<Identity>& identity) {
  if (!identity) return {};
  return {{"user", json_raw(identity->user_name)},
          {"group", json_raw(identity->group_name)},
          {"home", json_raw(identity->home)},
          {"shell", json_raw(identity->shell)},
          {"uid", identity->uid},
          {"gid", identity->gid},
          {"groups", identity->groups}};
}

Json json_probe(const ProbeSpec& probe) {
  if (!probe.is_set()) return {};
  return {{"exec", json_marked_list(probe.exec)},
          {"executable", json_raw(probe.executable)},
          {"http", json_marked(probe.http)},
          {"tcp", json_marked(probe.tcp)},
          {"unix", json_marked(probe.unix_path)}};
}

Json json_beside(const CommandSpec& one) {
  if (one.command.empty()) return {};
  return {{"command", json_marked_list(one.command)}, {"executable", json_raw(one.executable)}};
}

Json json_hooks(const HooksSpec& hooks) {
  Json json = Json::object();
  for (const HookName& hook : kHooks)
    json[hook.name] = json_beside(hooks.*hook.member);
  return json;
}

Json json_pool(const PoolSpec& spec) {
  Json json = plain_keys(pool_keys(), spec);
  const KeyInfo unused;
  json["name"] = spec.name;
  json["resolved"] = {{"command", json_command(spec, unused)},
                      {"executable", json_raw(spec.executable)},
                      {"cwd", json_directory(spec, unused)},
                      {"identity", json_identity(spec.identity)},
                      {"environment", json_environment(spec, unused)},
                      {"overlap", spec.overlap},
                      {"log_path", json_marked(spec.log.path)},
                      {"rlimits", json_rlimits(spec, unused)},
                      {"listen", json_listen(spec, unused)},
                      {"read_only_paths", json_read_only_paths(spec, unused)},
                      {"stop_command", json_beside(spec.stop.command)},
                      {"hooks", json_hooks(spec.hooks)},
                      {"live", json_probe(spec.probes.live)},
                      {"ready", json_probe(spec.probes.ready)}};
  return json;
}

template <class T>
Json optional(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

Json texts(const std::vector<std::string>& values) {
  Json json = Json::array();
  for (const std::string& value : values)
    json.push_back(json_raw(value));
  return json;
}

// Takes members of a JSON object that nobody is trusted to have made right; keeps the first flaw.
class Members {
 public:
  Members(Json json, std::string where) : json_(std::move(json)), where_(std::move(where)) {
    if (!json_.is_object()) fail("", "an object");
  }
  [[nodiscard]] const std::string& flaw() const { return flaw_; }
  void fail(const std::string& name, const std::string& expected) {
    if (flaw_.empty()) flaw_ = where_ + "." + name + ": must be " + expected;
  }
  [[nodiscard]] const Json& at(const char* name) const {
    static const Json kNothing;
    return json_.is_object() && json_.contains(name) ? json_.at(name) : kNothing;
  }
  bool boolean(const char* name) {
    if (!at(name).is_boolean()) fail(name, "true or false");
    return at(name).is_boolean() && at(name).get<bool>();
  }
  std::uint32_t id(const char* name) { return id(at(name), name); }
  std::uint32_t id(const Json& json, const char* name) {
    if (json.is_number_unsigned() && json.get<std::uint64_t>() <= kMaxId)
      return json.get<std::uint32_t>();
    fail(name, "a whole number up to " + std::to_string(kMaxId));
    return 0;
  }
  std::optional<std::uint32_t> optional_id(const char* name) {
    if (at(name).is_null()) return std::nullopt;
    return id(name);
  }
  std::vector<std::uint32_t> ids(const char* name) {
    std::vector<std::uint32_t> values;
    for (const Json& item : list(name))
      values.push_back(id(item, name));
    return values;
  }
  std::string raw(const char* name) { return take(raw_from_json(at(name)), name); }
  std::string marked(const char* name) { return take(marked_from_json(at(name)), name); }
  std::vector<std::string> raws(const char* name) {
    std::vector<std::string> values;
    for (const Json& item : list(name))
      values.push_back(take(raw_from_json(item), name));
    return values;
  }
  std::vector<std::string> markeds(const char* name) {
    std::vector<std::string> values;
    for (const Json& item : list(name))
      values.push_back(take(marked_from_json(item), name));
    return values;
  }

 private:
  const Json& list(const char* name) {
    static const Json kEmpty = Json::array();
    if (at(name).is_array()) return at(name);
    fail(name, "a list");
    return kEmpty;
  }
  std::string take(const Result<std::string>& text, const char* name) {
    if (text) return *text;
    fail(name, "a text");
    return {};
  }

  Json json_;
  std::string where_;
  std::string flaw_;
};

std::optional<Identity> take_identity(Members& pool) {
  if (pool.at("identity").is_null()) return std::nullopt;
  Members members(pool.at("identity"), "identity");
  Identity identity;
  identity.user_name = members.raw("user");
  identity.group_name = members.raw("group");
  identity.home = members.raw("home");
  identity.shell = members.raw("shell");
  identity.uid = members.id("uid");
  identity.gid = members.id("gid");
  identity.groups = members.ids("groups");
  if (!members.flaw().empty()) pool.fail("identity", "right: " + members.flaw());
  return identity;
}

void take_rlimits(const Node* node, PoolSpec& spec, Members& pool) {
  const auto* object = node == nullptr ? nullptr : node->as<Object>();
  if (object == nullptr) return pool.fail("rlimits", "an object");
  for (const Node& member : object->members) {
    auto limit = parse_rlimit(member);
    if (!limit) return pool.fail("rlimits", "right: " + limit.error().message);
    spec.rlimits.push_back(std::move(*limit));
  }
}

void take_listen(PoolSpec& spec, Members& pool) {
  if (pool.at("listen").is_null()) return;
  for (const std::string& text : pool.raws("listen")) {
    auto socket = parse_listen(text, {});
    if (!socket) return pool.fail("listen", "right: " + socket.error().message);
    spec.listen.push_back(std::move(*socket));
  }
}

// Nothing, also of a version that had no probes: there is none.
void take_probe(Members& pool, const char* name, ProbeSpec& probe) {
  if (pool.at(name).is_null()) return;
  Members members(pool.at(name), name);
  probe.exec = members.markeds("exec");
  probe.executable = members.raw("executable");
  probe.http = members.marked("http");
  probe.tcp = members.marked("tcp");
  probe.unix_path = members.marked("unix");
  if (!probe.exec.empty() && !probe.executable.starts_with("/"))
    members.fail("executable", "an absolute path");
  if (!members.flaw().empty()) pool.fail(name, "right: " + members.flaw());
}

// The same of commands beside the workers.
void take_beside(Members& parent, const char* name, CommandSpec& one) {
  if (parent.at(name).is_null()) return;
  Members members(parent.at(name), name);
  one.command = members.markeds("command");
  one.executable = members.raw("executable");
  if (one.command.empty()) members.fail("command", "a list with at least a program");
  if (!one.executable.starts_with("/")) members.fail("executable", "an absolute path");
  if (!members.flaw().empty()) parent.fail(name, "right: " + members.flaw());
}

void take_hooks(Members& pool, HooksSpec& hooks) {
  if (pool.at("hooks").is_null()) return;
  Members members(pool.at("hooks"), "hooks");
  for (const HookName& hook : kHooks)
    take_beside(members, hook.name, hooks.*hook.member);
  if (!members.flaw().empty()) pool.fail("hooks", "right: " + members.flaw());
}

void take_resolved(Members& members, const Node& node, PoolSpec& spec) {
  spec.command = members.markeds("command");
  spec.executable = members.raw("executable");
  spec.directory = members.marked("cwd");
  spec.identity = take_identity(members);
  spec.environment = members.markeds("environment");
  spec.overlap = members.boolean("overlap");
  spec.log.path = members.marked("log_path");
  const Node* resolved = node.member("resolved");
  take_rlimits(resolved == nullptr ? nullptr : resolved->member("rlimits"), spec, members);
  take_listen(spec, members);
  spec.sandbox.read_only_paths = members.markeds("read_only_paths");
  for (const std::string& path : spec.sandbox.read_only_paths) {
    if (!path.starts_with("/")) members.fail("read_only_paths", "absolute paths");
  }
  take_beside(members, "stop_command", spec.stop.command);
  take_hooks(members, spec.hooks);
  take_probe(members, "live", spec.probes.live);
  take_probe(members, "ready", spec.probes.ready);
  if (spec.command.empty()) members.fail("command", "a list with at least a program");
  if (!spec.executable.starts_with("/")) members.fail("executable", "an absolute path");
  if (!spec.directory.starts_with("/")) members.fail("cwd", "an absolute path");
}

Result<PoolSpec> decode_pool(const Node& node, const Json& json, Problems& problems) {
  PoolSpec spec;
  const Node* name = node.member("name");
  const auto* text = name == nullptr ? nullptr : name->as<std::string>();
  if (text == nullptr || !is_valid_name(*text)) return Error{"a pool without a valid name"};
  spec.name = *text;
  static_cast<void>(
      read_keys(pool_keys(), node, "pools." + spec.name, problems, spec, {"name", "resolved"}));
  Members members(json.contains("resolved") ? json["resolved"] : Json(), spec.name + ".resolved");
  take_resolved(members, node, spec);
  if (!members.flaw().empty()) return Error{members.flaw()};
  for (const CrossError& error : cross_check(spec)) {
    return Error{"pools." + spec.name + "." + std::string(error.path) + ": " + error.message};
  }
  spec.spawn_fingerprint = fingerprint(spec);
  return spec;
}

Result<void> decode_daemon(const Node& node, const Json& json, Problems& problems,
                           DaemonSpec& daemon) {
  static_cast<void>(read_keys(daemon_keys(), node, "daemon", problems, daemon, {"resolved"}));
  Members members(json.is_object() && json.contains("resolved") ? json["resolved"] : Json(),
                  "daemon.resolved");
  daemon.operate_gid = members.optional_id("operate_gid");
  daemon.readonly_gid = members.optional_id("readonly_gid");
  daemon.task_uid = members.optional_id("task_uid");
  daemon.task_gid = members.optional_id("task_gid");
  if (!members.flaw().empty()) return Error{members.flaw()};
  return {};
}

Result<Configuration> decode_parts(const Node& root, const Json& json, Problems& problems) {
  Configuration configuration;
  const Node* daemon = root.member("daemon");
  const Node* pools = root.member("pools");
  if (daemon == nullptr || pools == nullptr || pools->as<Array>() == nullptr) {
    return Error{"daemon or pools are missing"};
  }
  if (const auto done = decode_daemon(*daemon, json["daemon"], problems, configuration.daemon);
      !done) {
    return done.error();
  }
  for (std::size_t i = 0; i < pools->as<Array>()->items.size(); ++i) {
    auto pool = decode_pool(pools->as<Array>()->items[i], json["pools"][i], problems);
    if (!pool) return pool.error();
    if (i > 0 && configuration.pools.back().name >= pool->name)
      return Error{"the pools are not sorted by name"};
    configuration.pools.push_back(std::move(*pool));
  }
  Members members(json, "configuration");
  configuration.files = members.raws("files");
  configuration.warnings = members.raws("warnings");
  if (!members.flaw().empty()) return Error{members.flaw()};
  return configuration;
}

}  // namespace

std::string encode(const Configuration& configuration) {
  Json json;
  json["daemon"] = plain_keys(daemon_keys(), configuration.daemon);
  json["daemon"]["resolved"] = {{"operate_gid", optional(configuration.daemon.operate_gid)},
                                {"readonly_gid", optional(configuration.daemon.readonly_gid)},
                                {"task_uid", optional(configuration.daemon.task_uid)},
                                {"task_gid", optional(configuration.daemon.task_gid)}};
  json["pools"] = Json::array();
  for (const PoolSpec& pool : configuration.pools)
    json["pools"].push_back(json_pool(pool));
  json["files"] = texts(configuration.files);
  json["warnings"] = texts(configuration.warnings);
  return json.dump();
}

Result<Configuration> decode(std::string_view text) {
  constexpr std::string_view kContext = "the encoded configuration";
  if (text.size() > kMaxEncoded) return Error{std::string(kContext) + " is larger than 64 MiB"};
  Problems problems;
  const auto root = parse_document(text, problems.add_file(std::string(kContext)), problems);
  const Json json = root ? Json::parse(text, nullptr, false) : Json();
  Result<Configuration> configuration = Error{"is no object"};
  if (json.is_object()) configuration = decode_parts(*root, json, problems);
  if (problems.any()) return Error{problems.take_errors().front().text()};
  if (!configuration) return configuration.error().with_context(kContext);
  return configuration;
}

}  // namespace mtd::config
