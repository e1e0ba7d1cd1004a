#include "daemon/broker/worker_frames.h"

#include <limits>

#include "daemon/broker/frame_members.h"

namespace mtd::broker {
namespace {

using nlohmann::json;

constexpr std::int64_t kMaxId = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMaxNumber = std::numeric_limits<std::uint32_t>::max();
constexpr std::size_t kMaxText = 64 * 1024;
constexpr std::uint32_t kMaxParts = 20'000;  // of 60 KiB: more than the largest result

task::TaskId id_of(FrameMembers& members) {
  return {static_cast<std::uint64_t>(members.needed_integer("id", 1, kMaxId))};
}

std::uint32_t number(FrameMembers& members, const char* name, std::int64_t min, std::int64_t max) {
  return static_cast<std::uint32_t>(members.needed_integer(name, min, max));
}

std::uint32_t capabilities_of(FrameMembers& members) {
  if (!members.has("capabilities")) return 0;
  if (!members.is_list("capabilities")) {
    members.wrong("capabilities", "a list of names");
    return 0;
  }
  std::uint32_t known = 0;
  members.for_each_text("capabilities", [&](std::string_view name) {
    if (name == "body") known |= kTakesBodies;
    if (name == "cancel") known |= kTakesCancels;
    if (name == "progress") known |= kTellsProgress;
  });
  return known;
}

WorkerFrame ready_of(FrameMembers& members) {
  if (members.needed_integer("proto", 1, kMaxNumber) != kTaskProtocol)
    members.wrong("proto", "1: mtd speaks mtd-task/1 only");
  return ReadyFrame{
      static_cast<std::uint32_t>(members.integer("credit", 1, kMaxCredit).value_or(0)),
      capabilities_of(members)};
}

// {"type","message","trace"}, and of adapters "exit" and "signal", as far as they are there.
std::string error_of(FrameMembers& members) {
  const json* given = members.object("error");
  json error = json::object();
  if (given == nullptr && members.has("error")) {
    members.wrong("error", "an object with the texts type, message and trace");
    return {};
  }
  if (given != nullptr) {
    for (const char* name : {"type", "message", "trace"}) {
      const auto found = given->find(name);
      if (found == given->end() || found->is_null()) continue;
      if (!found->is_string()) members.wrong("error", "an object of texts");
      error[name] = *found;
    }
  }
  for (const char* name : {"exit", "signal"}) {
    if (const auto value = members.integer(name, 0, 255)) error[name] = *value;
  }
  return error.empty() ? std::string() : varlink::to_text(error);
}

WorkerFrame answer_of(FrameMembers& members, bool done) {
  AnswerFrame answer;
  answer.done = done;
  answer.id = id_of(members);
  answer.attempt = number(members, "attempt", 1, kMaxNumber);
  answer.parts = static_cast<std::uint32_t>(members.integer("parts", 1, kMaxParts).value_or(0));
  if (done) {
    answer.result = members.json_text("result");
    return answer;
  }
  answer.error = error_of(members);
  answer.retry = members.boolean("retry", true);
  answer.crash = members.boolean("crash", false);
  answer.delay = members.milliseconds("delay_ms");
  if (const auto signal = members.integer("signal", 1, 64)) {
    answer.death = {task::DeathCause::signal, static_cast<int>(*signal)};
  } else if (const auto exit = members.integer("exit", 0, 255)) {
    answer.death = {task::DeathCause::exit, static_cast<int>(*exit)};
  }
  return answer;
}

WorkerFrame progress_of(FrameMembers& members) {
  ProgressFrame progress;
  progress.id = id_of(members);
  for (const char* name : {"done", "total"}) {
    if (const auto value = members.integer(name, 0, kMaxId))
      progress.members += ",\"" + std::string(name) + "\":" + std::to_string(*value);
  }
  if (members.has("text"))
    progress.members += ",\"text\":" + varlink::to_text(members.text("text", kMaxText));
  return progress;
}

WorkerFrame frame_of(FrameMembers& members, const std::string& type) {
  if (type == "done" || type == "fail") return answer_of(members, type == "done");
  if (type == "ready") return ready_of(members);
  if (type == "part") {
    PartFrame part{id_of(members), number(members, "attempt", 1, kMaxNumber),
                   number(members, "part", 0, kMaxParts - 1), number(members, "of", 1, kMaxParts)};
    if (part.part >= part.of) members.wrong("part", "less than \"of\"");
    return part;
  }
  if (type == "progress") return progress_of(members);
  if (type == "extend") {
    const task::TaskId id = id_of(members);
    if (!members.has("ms")) members.wrong("ms", "a whole number, and is missing");
    return ExtendFrame{id, members.milliseconds("ms").value_or(Duration())};
  }
  if (type == "credit") return CreditFrame{number(members, "n", 1, kMaxCredit)};
  if (type == "recycle") return RecycleFrame{};
  return OtherFrame{};
}

Result<WorkerFrame> parsed(FrameMembers members) {
  const std::string type = members.needed_text("t", 64);
  WorkerFrame frame = frame_of(members, type);
  if (!members.fault().empty()) return Error{(type.empty() ? "" : type + ": ") + members.fault()};
  return frame;
}

}  // namespace

Result<WorkerFrame> parse_worker_frame(std::string_view line) {
  if (const auto plain = FlatObject::parse(line)) return parsed(FrameMembers(*plain));
  const auto object = varlink::parse_json(line);
  if (!object) return Error{"this is no JSON: " + object.error().message};
  if (!object->is_object()) return Error{"a frame begins with a JSON object"};
  return parsed(FrameMembers(*object));
}

}  // namespace mtd::broker
