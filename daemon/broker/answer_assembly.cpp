#include "daemon/broker/answer_assembly.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "common/escape.h"
#include "common/json_writer.h"
#include "common/size.h"

namespace mtd::broker {

Result<void> AnswerAssembly::add_part(const task::WorkerKey& worker, const PartFrame& frame,
                                      std::string_view body, const Rules& rules) {
  Parts& parts = *parts_of(worker, {frame.id, frame.attempt}, rules);
  if (incomplete_[worker].size() > kMaxCredit) return Error{"parts of too many answers at once"};
  note_lack(parts, frame.part);
  if (frame.part > parts.count) {
    return Error{"part " + std::to_string(frame.part) + " comes before part " +
                 std::to_string(parts.count)};
  }
  if (frame.part < parts.count) return {};  // again
  ++parts.count;
  if (!parts.is_lacking) parts.bytes += body.size();
  if (parts.lost.empty()) keep(parts, body, rules);
  return {};
}

// Perhaps a former broker has taken some, or all of them.
AnswerAssembly::PartsList::iterator AnswerAssembly::parts_of(const task::WorkerKey& worker,
                                                             const AnswerOf& of,
                                                             const Rules& rules) {
  PartsList& list = incomplete_[worker];
  const auto known =
      std::find_if(list.begin(), list.end(), [&](const Parts& parts) { return parts.of == of; });
  if (known != list.end()) return known;
  Parts parts;
  parts.of = of;
  const PartSpool::Kept kept = spool_.kept(of.id, of.attempt);
  parts.is_filed = kept.bytes > rules.max_result;
  if (!parts.is_filed && kept.parts > 0) {
    auto pieces = spool_.read(of.id, of.attempt);
    if (pieces) parts.pieces = std::move(*pieces);
    if (!pieces) parts.lost = pieces.error().message;
  }
  parts.count = kept.parts;
  parts.bytes = kept.bytes;
  if (const auto inherited = inherited_.find(worker); inherited != inherited_.end()) {
    const auto& all = inherited->second;
    parts.may_lack = std::find(all.begin(), all.end(), of) != all.end();
  }
  list.push_back(std::move(parts));
  return list.end() - 1;
}

void AnswerAssembly::inherit(const task::WorkerKey& worker, const AnswerOf& of) {
  inherited_[worker].push_back(of);
}

// The first that is heard of it in this life says how many parts the earlier broker had taken.
void AnswerAssembly::note_lack(Parts& parts, std::uint32_t told) {
  if (!std::exchange(parts.may_lack, false) || told <= parts.count) return;
  parts.lost = "an earlier broker could not keep parts of it";
  parts.is_lacking = true;
  parts.count = told;
  parts.bytes = 0;
  parts.pieces.clear();
  spool_.remove(parts.of.id, parts.of.attempt);
}

// Its frame leaves the socket before the answer is on record: a kill -9 must not lose it. And what
// is larger than the store keeps is nowhere but in the file.
void AnswerAssembly::keep(Parts& parts, std::string_view body, const Rules& rules) {
  const bool is_large = parts.bytes > rules.max_result;
  const Result<void> kept = keep_in_file(parts, body, rules);
  if (kept) return;
  if (is_large) {
    parts.lost = kept.error().message;
    parts.pieces.clear();
    spool_.remove(parts.of.id, parts.of.attempt);
  } else if (!std::exchange(spool_failed_, true)) {
    spdlog::warn("pool {}: {}: an answer in parts would not survive a kill of the broker now",
                 rules.pool, kept.error().message);
  }
}

Result<void> AnswerAssembly::keep_in_file(Parts& parts, std::string_view body, const Rules& rules) {
  const auto& [id, attempt] = parts.of;
  if (parts.bytes > kMaxResult) return Error{"a result has at most " + format_size({kMaxResult})};
  if (parts.is_filed) return spool_.add(id, attempt, parts.count - 1, body);
  const bool is_large = parts.bytes > rules.max_result;
  parts.pieces.emplace_back(body);
  if (!is_large && rules.in_memory) return {};
  const std::uint32_t there = spool_.kept(id, attempt).parts;
  Result<void> kept;
  for (std::uint32_t i = there; kept && i < parts.count; ++i)
    kept = spool_.add(id, attempt, i, parts.pieces[i]);
  if (kept && is_large) {
    parts.is_filed = true;
    parts.pieces.clear();
  }
  return kept;
}

AnswerAssembly::Data AnswerAssembly::take_parts(Parts& parts) {
  Data data;
  data.bytes = parts.bytes;
  data.lost = std::move(parts.lost);
  if (!data.lost.empty()) return data;
  if (parts.is_filed) data.file = spool_.make_result(parts.of.id, parts.of.attempt);
  for (const std::string& piece : parts.pieces)
    data.text += piece;
  return data;
}

Result<AnswerAssembly::Data> AnswerAssembly::take_data(const task::WorkerKey& worker,
                                                       const AnswerFrame& frame,
                                                       std::optional<std::string_view> body,
                                                       const Rules& rules) {
  const AnswerOf of{frame.id, frame.attempt};
  Data data;
  if (frame.parts != 0) {
    if (body) return Error{"\"parts\" and \"body\" in one frame"};
    const auto found = parts_of(worker, of, rules);
    note_lack(*found, frame.parts);
    if (found->count != frame.parts) {
      return Error{"\"parts\" says " + std::to_string(frame.parts) + ", but " +
                   std::to_string(found->count) + " came"};
    }
    data = take_parts(*found);
    incomplete_[worker].erase(found);
  } else if (body && body->size() > rules.max_result) {
    Parts parts;
    parts.of = of;
    parts.count = 1;
    parts.bytes = body->size();
    spool_.remove(of.id, of.attempt);
    keep(parts, *body, rules);
    data = take_parts(parts);
  } else if (body) {
    data.text = *body;
    data.bytes = body->size();
  }
  return data;
}

AnswerAssembly::Answer AnswerAssembly::make_of_nothing(const AnswerFrame& frame) {
  auto content = std::make_shared<task::Answer>();
  content->result = frame.result;
  content->error = frame.error;
  return {std::move(content), false};
}

Result<AnswerAssembly::Answer> AnswerAssembly::make(const task::WorkerKey& worker,
                                                    const AnswerFrame& frame,
                                                    std::optional<std::string_view> body,
                                                    const Rules& rules) {
  auto data = take_data(worker, frame, body, rules);
  if (!data) return data.error();
  Answer answer = make_of_nothing(frame);
  answer.content->data = std::move(data->text);
  if (!frame.done && !data->file.empty()) {  // a failure has its error; more is not kept
    spool_.remove_result(data->file);
  } else if (!data->file.empty()) {
    answer.content->file = data->file;
    filed_[{frame.id.value, frame.attempt}] = data->file;
  }
  answer.too_big = !data->lost.empty();
  if (!answer.too_big || !frame.done) return answer;
  std::string& error = answer.content->error;
  answer.content->result.clear();
  error = "{\"type\":\"ResultTooBig\",\"message\":";
  const std::string what = data->bytes == 0
                               ? "the result"
                               : "the result has " + std::to_string(data->bytes) + " bytes and";
  append_json_string(error, what + " cannot be kept: " + escape_for_terminal(data->lost));
  error += '}';
  return answer;
}

void AnswerAssembly::settled(const AnswerOf& of, bool taken) {
  spool_.remove(of.id, of.attempt);
  if (filed_.empty()) return;
  const auto filed = filed_.extract({of.id.value, of.attempt});
  if (filed && !taken) spool_.remove_result(filed.mapped());
}

void AnswerAssembly::forget(const task::WorkerKey& worker) {
  inherited_.erase(worker);
  const auto left = incomplete_.extract(worker);
  if (!left) return;
  for (const Parts& parts : left.mapped())
    spool_.remove(parts.of.id, parts.of.attempt);
}

}  // namespace mtd::broker
