#include "daemon/broker/client_frames.h"

#include <algorithm>
#include <array>
#include <limits>

#include "daemon/broker/frame_members.h"

namespace mtd::broker {
namespace {

constexpr std::int64_t kMaxInteger = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMaxUnixMs = kMaxInteger / 1'000'000;   // the year 2262
constexpr std::int64_t kLongestMs = 366LL * 86'400'000 * 100;  // a hundred years

bool is_plain(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

void refuse_unknown(FrameMembers& members, std::initializer_list<std::string_view> known) {
  members.for_each_name([&](std::string_view name) {
    const auto is_it = [name](std::string_view one) {
      return one.size() == name.size() && (name.empty() || one.front() == name.front()) &&
             one == name;
    };
    if (std::none_of(known.begin(), known.end(), is_it))
      members.wrong(std::string(name.substr(0, 64)).c_str(), "left out: it is not known");
  });
}

PutFrame put_of(FrameMembers& members) {
  refuse_unknown(members, {"t", "seq", "pool", "uid", "name", "args", "body", "priority",
                           "delay_ms", "at_ms", "timeout_ms", "expires_ms", "unique", "group",
                           "max_attempts", "block_ms", "watch", "attached"});
  PutFrame put;
  put.pool = members.needed_text("pool", 64);
  put.uid = members.text("uid", kMaxUidBytes);
  if (!is_plain(put.uid)) members.wrong("uid", "printable ASCII without blanks");
  put.name = members.text("name", kMaxTaskNameBytes);
  put.group = members.text("group", kMaxGroupBytes);
  put.unique = members.text("unique", kMaxGroupBytes);
  if (members.has("args")) {
    if (!members.is_list("args")) members.wrong("args", "a list");
    put.args = members.json_text("args");
    if (put.args.size() > kMaxArgsBytes)
      members.wrong("args", "at most " + std::to_string(kMaxArgsBytes) + " bytes; use a body");
  }
  put.priority = static_cast<std::int32_t>(members.integer("priority", -100, 100).value_or(0));
  put.delay = members.milliseconds("delay_ms").value_or(Duration());
  if (const auto at = members.integer("at_ms", 0, kMaxUnixMs)) {
    put.at = task::WallTime{*at * 1'000'000};
    if (members.has("delay_ms")) members.wrong("at_ms", "left out beside delay_ms");
  }
  put.timeout = members.milliseconds("timeout_ms");
  put.expires = members.milliseconds("expires_ms");
  put.max_attempts =
      static_cast<std::uint32_t>(members.integer("max_attempts", 1, 1000).value_or(0));
  if (const auto block = members.integer("block_ms", -1, kLongestMs))
    put.block = *block < 0 ? Duration::infinite() : Duration::milliseconds(*block);
  put.watch = members.boolean("watch", false);
  put.attached = members.boolean("attached", false);
  return put;
}

task::TaskId id_of(FrameMembers& members) {
  return {static_cast<std::uint64_t>(members.needed_integer("id", 1, kMaxInteger))};
}

std::optional<ClientFrame> frame_of(FrameMembers& members, const std::string& type) {
  if (type == "put") return put_of(members);
  if (type == "wait") {
    refuse_unknown(members, {"t", "seq", "id", "uid"});
    WaitFrame wait;
    if (members.has("uid") == members.has("id")) members.wrong("id", "given, or else uid");
    if (members.has("id")) wait.id = id_of(members);
    wait.uid = members.text("uid", kMaxUidBytes);
    return wait;
  }
  if (type == "cancel") {
    refuse_unknown(members, {"t", "seq", "id", "now"});
    return CancelFrame{0, id_of(members), members.boolean("now", false)};
  }
  if (type == "forget") {
    refuse_unknown(members, {"t", "seq", "id"});
    return ForgetFrame{id_of(members)};
  }
  members.wrong("t", "put, wait, cancel or forget");
  return std::nullopt;
}

std::variant<ClientFrame, ClientFault> parsed(FrameMembers members) {
  const std::string type = members.needed_text("t", 64);
  const auto seq = members.integer("seq", 0, kMaxInteger);
  if (!seq && type != "forget") {
    members.wrong("seq", "a whole number, and is missing");
    return ClientFault{std::nullopt, members.fault()};
  }
  auto frame = frame_of(members, type);
  if (!frame || !members.fault().empty()) return ClientFault{seq, members.fault()};
  if (auto* put = std::get_if<PutFrame>(&*frame)) put->seq = *seq;
  if (auto* wait = std::get_if<WaitFrame>(&*frame)) wait->seq = *seq;
  if (auto* cancel = std::get_if<CancelFrame>(&*frame)) cancel->seq = *seq;
  return std::move(*frame);
}

}  // namespace

std::variant<ClientFrame, ClientFault> parse_client_frame(std::string_view line) {
  if (const auto plain = FlatObject::parse(line)) return parsed(FrameMembers(*plain));
  const auto object = varlink::parse_json(line);
  if (!object) return ClientFault{std::nullopt, "this is no JSON: " + object.error().message};
  if (!object->is_object()) return ClientFault{std::nullopt, "a frame begins with a JSON object"};
  return parsed(FrameMembers(*object));
}

}  // namespace mtd::broker
