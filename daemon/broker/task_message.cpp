#include "daemon/broker/task_message.h"

#include <algorithm>

#include "common/json_writer.h"
#include "common/signals.h"
#include "common/task_frames.h"
#include "daemon/broker/model/vocabulary.h"

namespace mtd::broker {
namespace {

// Of raw bytes that become base64 in one line.
constexpr std::size_t kTextPartBytes = 36 * 1024;

std::string head(std::string_view type, task::TaskId id, std::uint32_t attempt) {
  return "{\"t\":\"" + std::string(type) + "\",\"id\":" + std::to_string(id.value) +
         ",\"attempt\":" + std::to_string(attempt);
}

void add_text(std::string& text, std::string_view name, std::string_view value) {
  text += ",\"";
  text += name;
  text += "\":";
  append_json_string(text, value);
}

std::string_view word_of(task::CancelCause cause) {
  switch (cause) {
    case task::CancelCause::user:
      return "user";
    case task::CancelCause::timeout:
      return "timeout";
    case task::CancelCause::drain:
      return "drain";
  }
  return {};
}

}  // namespace

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8U | (j < count ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j)
      text += j <= count ? kDigits[group >> (18 - 6 * j) & 63U] : '=';
  }
  return text;
}

std::vector<std::string> task_frames_of(const task::SendTask& action, const task::TaskBody& body,
                                        bool takes_bodies) {
  std::string object;
  object.reserve(128 + body.name.size() + body.args.size());
  object += head("task", action.id, action.attempt);
  if (!body.name.empty()) add_text(object, "name", body.name);
  object += ",\"args\":";
  object += body.args.empty() ? std::string_view("[]") : std::string_view(body.args);
  if (action.timeout) object += ",\"timeout_ms\":" + std::to_string(action.timeout->count_ms());
  if (action.again) object += ",\"again\":true";
  if (body.data.empty()) {
    object += "}\n";
    std::vector<std::string> frames;
    frames.push_back(std::move(object));
    return frames;
  }
  const std::string_view data = body.data;
  const std::string encoded = takes_bodies ? std::string() : base64(data);
  const std::size_t whole = object.size() + 32 + (takes_bodies ? data.size() : encoded.size());
  if (whole <= task_frames::kMaxWire) {
    if (takes_bodies) return {task_frames::frame(object + "}", data)};
    return {object + ",\"body_base64\":\"" + encoded + "\"}\n"};
  }
  std::vector<std::string> frames;
  const std::size_t size = takes_bodies ? task_frames::kPartBytes : kTextPartBytes;
  const std::size_t count = (data.size() + size - 1) / size;
  for (std::size_t part = 0; part < count; ++part) {
    const std::string_view piece = data.substr(part * size, size);
    std::string line = head("part", action.id, action.attempt) +
                       ",\"part\":" + std::to_string(part) + ",\"of\":" + std::to_string(count);
    frames.push_back(takes_bodies ? task_frames::frame(line + "}", piece)
                                  : line + ",\"data\":\"" + base64(piece) + "\"}\n");
  }
  frames.push_back(object + ",\"parts\":" + std::to_string(count) + "}\n");
  return frames;
}

std::string cancel_frame(const task::SendCancel& action) {
  return "{\"t\":\"cancel\",\"id\":" + std::to_string(action.id.value) + ",\"reason\":\"" +
         std::string(word_of(action.cause)) +
         "\",\"grace_ms\":" + std::to_string(action.grace.count_ms()) + "}\n";
}

std::string drain_frame(const task::SendDrain& action) {
  std::string text = "{\"t\":\"drain\"";
  if (action.deadline) text += ",\"deadline_ms\":" + std::to_string(action.deadline->count_ms());
  return text + "}\n";
}

std::string ok_frame(std::int64_t seq, task::TaskId id, bool existed) {
  return "{\"t\":\"ok\",\"seq\":" + std::to_string(seq) + ",\"id\":" + std::to_string(id.value) +
         (existed ? ",\"existed\":true}\n" : "}\n");
}

std::string no_frame(std::optional<std::int64_t> seq, std::string_view error,
                     std::string_view message, std::optional<std::int64_t> retry_ms,
                     task::TaskId id) {
  std::string text = "{\"t\":\"no\"";
  if (seq) text += ",\"seq\":" + std::to_string(*seq);
  add_text(text, "error", error);
  add_text(text, "message", message);
  if (retry_ms) text += ",\"retry_ms\":" + std::to_string(*retry_ms);
  if (id.value != 0) text += ",\"id\":" + std::to_string(id.value);
  return text + "}\n";
}

std::string death_text(const task::Death& death) {
  switch (death.cause) {
    case task::DeathCause::exit:
      return "its worker ended with exit code " + std::to_string(death.number);
    case task::DeathCause::signal:
      return "its worker was killed by " + signal_name(SignalNumber{death.number});
    case task::DeathCause::oom:
      return "its worker was killed for want of memory";
    case task::DeathCause::protocol:
      return "its worker was killed because it does not keep to mtd-task/1";
    case task::DeathCause::stopped:
      return "its worker was stopped";
    case task::DeathCause::vanished:
      return "its worker is gone";
  }
  return {};
}

TaskEnd end_of(const task::Settled& settled) {
  return {settled.id,    settled.state,    settled.reason,
          settled.death, settled.attempts, settled.answer};
}

TaskEnd end_of(const task::FoundTask& found) {
  return {found.row.facts.id,
          found.row.facts.state,
          found.row.reason,
          found.row.death,
          found.row.facts.counters.attempts,
          found.answer};
}

std::string part_frame(std::int64_t seq, task::TaskId id, std::uint32_t part,
                       std::string_view bytes) {
  return task_frames::frame("{\"t\":\"part\",\"seq\":" + std::to_string(seq) +
                                ",\"id\":" + std::to_string(id.value) +
                                ",\"part\":" + std::to_string(part) + "}",
                            bytes);
}

TaskEnd without_result(const TaskEnd& end, std::string_view why) {
  auto answer = std::make_shared<task::Answer>();
  answer->error = "{\"type\":\"ResultLost\",\"message\":";
  append_json_string(answer->error,
                     "the task is done, but its result is lost: " + std::string(why));
  answer->error += '}';
  TaskEnd lost = end;
  lost.state = task::TaskState::dead;
  lost.reason = task::Reason::result_too_big;
  lost.answer = std::move(answer);
  return lost;
}

std::string end_frame(std::int64_t seq, const TaskEnd& end, std::uint32_t parts) {
  std::string text;
  text.reserve(128 + (end.answer ? end.answer->result.size() + end.answer->error.size() : 0));
  text.append("{\"t\":\"end\",\"seq\":").append(std::to_string(seq));
  text.append(",\"id\":").append(std::to_string(end.id.value));
  add_text(text, "state", task::name_of(end.state));
  if (end.reason != task::Reason::none) add_text(text, "reason", task::name_of(end.reason));
  if (end.attempts) text += ",\"attempts\":" + std::to_string(*end.attempts);
  const bool died = end.state == task::TaskState::dead && end.reason == task::Reason::crashed;
  if (died && end.death.cause == task::DeathCause::signal)
    text += ",\"signal\":" + std::to_string(end.death.number);
  if (died && end.death.cause == task::DeathCause::exit)
    text += ",\"exit\":" + std::to_string(end.death.number);
  const task::Answer none;
  const task::Answer& answer = end.answer ? *end.answer : none;
  if (parts != 0) text += ",\"parts\":" + std::to_string(parts);
  if (!answer.result.empty() && end.state == task::TaskState::done)
    text += ",\"result\":" + answer.result;
  if (!answer.error.empty()) {
    text += ",\"error\":" + answer.error;
  } else if (died) {
    text += ",\"error\":{\"type\":\"WorkerLost\",\"message\":";
    append_json_string(text, death_text(end.death));
    text += '}';
  }
  text += '}';
  // A line has its limit; the result of such a length is passed as a body by those who make it.
  if (answer.data.empty()) {
    text += '\n';
    return text;
  }
  return task_frames::frame(text, answer.data);
}

std::string progress_frame(std::int64_t seq, task::TaskId id, std::string_view members) {
  return "{\"t\":\"progress\",\"seq\":" + std::to_string(seq) +
         ",\"id\":" + std::to_string(id.value) + std::string(members) + "}\n";
}

}  // namespace mtd::broker
