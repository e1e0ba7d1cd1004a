#include "daemon/broker/part_spool.h"

#include <cerrno>
#include <charconv>
#include <cstring>

#include "common/size.h"
#include "daemon/sys/durable_directory.h"
#include "daemon/sys/spool_file.h"

namespace mtd::broker {
namespace {

constexpr std::uint32_t kMagic = 0x5044544d;
constexpr std::uint64_t kMaxPart = 1U << 20U;  // far beyond what a frame can hold

struct RecordHead {
  std::uint32_t magic = kMagic;
  std::uint32_t part = 0;
  std::uint64_t size = 0;
};

template <class Number>
bool take_number(std::string_view& text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number == 0) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

std::optional<PartSpool::Name> name_in(std::string_view text) {
  PartSpool::Name name;
  if (!take_number(text, name.first) || text.empty() || text.front() != '.') return std::nullopt;
  text.remove_prefix(1);
  if (!take_number(text, name.second) || !text.empty()) return std::nullopt;
  return name;
}

}  // namespace

Result<std::optional<std::string>> SpoolReader::next() {
  RecordHead head;
  const auto got = sys::read_at(file_.get(), reinterpret_cast<char*>(&head), sizeof head, at_);
  if (!got) return got.error();
  if (*got == 0) return std::optional<std::string>();
  if (*got < sizeof head || head.magic != kMagic || head.part != parts_ || head.size > kMaxPart)
    return Error{"a part of a result is damaged", EIO};
  std::string piece(static_cast<std::size_t>(head.size), '\0');
  const auto read = sys::read_at(file_.get(), piece.data(), piece.size(), at_ + sizeof head);
  if (!read) return read.error();
  if (*read < piece.size()) return Error{"a part of a result is cut off", EIO};
  at_ += sizeof head + head.size;
  bytes_ += head.size;
  ++parts_;
  return std::optional(std::move(piece));
}

PartSpool::PartSpool(SpoolOptions options) : options_(std::move(options)) {
  if (options_.directory.empty()) return;
  for (const std::string& text : sys::file_names(options_.directory)) {
    const auto name = name_in(text);
    if (!name) continue;
    const std::uint64_t size = sys::file_size(path_of(*name));
    unknown_[*name].size = size;
    *options_.bytes += size;
  }
}

std::string PartSpool::file_of(const Name& name) {
  return std::to_string(name.first) + "." + std::to_string(name.second);
}

std::string PartSpool::path_of(const Name& name) const {
  return options_.directory + "/" + file_of(name);
}

// A file that an earlier broker began is gone on with behind its last whole part.
PartSpool::File& PartSpool::begun(const Name& name) {
  const auto known = parts_.find(name);
  if (known != parts_.end()) return known->second;
  File& file = parts_[name];
  const auto left = unknown_.find(name);
  if (left == unknown_.end()) return file;
  const std::uint64_t size = left->second.size;
  unknown_.erase(left);
  *options_.bytes -= size;
  if (const auto left_parts = cut_to_parts(name, size)) {
    file = *left_parts;
  } else {  // nothing may be added to what nobody could look at
    sys::remove_file(path_of(name));
  }
  *options_.bytes += file.size;
  return file;
}

// Its whole parts, and nothing behind them. Nothing: that cannot be, now.
std::optional<PartSpool::File> PartSpool::cut_to_parts(const Name& name, std::uint64_t size) const {
  auto opened = sys::open_to_read(path_of(name));
  if (!opened) return std::nullopt;
  SpoolReader reader(std::move(*opened));
  for (auto piece = reader.next(); piece && *piece; piece = reader.next()) {
  }
  File file;
  file.kept = {reader.parts(), reader.bytes()};
  file.size = reader.at();
  if (file.size < size && !sys::cut_file(path_of(name), file.size)) return std::nullopt;
  return file;
}

PartSpool::Kept PartSpool::kept(task::TaskId id, std::uint32_t attempt) {
  const Name name{id.value, attempt};
  const bool known = parts_.count(name) != 0 || unknown_.count(name) != 0;
  return known ? begun(name).kept : Kept();
}

Result<void> PartSpool::make_room(std::uint64_t more) const {
  const std::uint64_t used =
      *options_.bytes + (options_.database.empty() ? 0 : sys::file_size(options_.database));
  if (used + more <= options_.quota) return {};
  return Error{"tasks.quota allows " + format_size({options_.quota}) + " for all tasks", ENOSPC};
}

Result<void> PartSpool::add(task::TaskId id, std::uint32_t attempt, std::uint32_t part,
                            std::string_view bytes) {
  if (options_.directory.empty()) return {};
  const Name name{id.value, attempt};
  File& file = begun(name);
  if (part < file.kept.parts) return {};
  RecordHead head;
  head.part = part;
  head.size = bytes.size();
  std::string record(sizeof head, '\0');
  std::memcpy(record.data(), &head, sizeof head);
  record += bytes;
  if (const auto room = make_room(record.size()); !room) return room;
  if (file.size == 0) {
    if (const auto made = sys::make_directory(options_.directory, 0700); !made) return made.error();
  }
  if (const auto added = sys::append_file(path_of(name), record); !added) return added;
  file.kept.parts = part + 1;
  file.kept.bytes += bytes.size();
  file.size += record.size();
  *options_.bytes += record.size();
  return {};
}

Result<std::vector<std::string>> PartSpool::read(task::TaskId id, std::uint32_t attempt) {
  std::vector<std::string> parts;
  const Name name{id.value, attempt};
  if (kept(id, attempt).parts == 0) return parts;
  auto file = sys::open_to_read(path_of(name));
  if (!file) return file.error();
  SpoolReader reader(std::move(*file));
  for (;;) {
    auto piece = reader.next();
    if (!piece) return piece.error();
    if (!*piece) return parts;
    parts.push_back(std::move(**piece));
  }
}

void PartSpool::remove(Files& from, const Name& name) {
  const auto found = from.find(name);
  if (found == from.end()) return;
  sys::remove_file(path_of(name));
  *options_.bytes -= found->second.size;
  from.erase(found);
}

void PartSpool::remove(task::TaskId id, std::uint32_t attempt) {
  remove(parts_, {id.value, attempt});
}

void PartSpool::remove_unless(const Wanted& wanted) {
  std::vector<Name> gone;
  for (const auto& [name, file] : parts_) {
    if (!wanted({name.first}, name.second)) gone.push_back(name);
  }
  for (const Name& name : gone)
    remove(parts_, name);
}

std::string PartSpool::make_result(task::TaskId id, std::uint32_t attempt) {
  const Name name{id.value, attempt};
  results_[name] = begun(name);
  parts_.erase(name);
  return file_of(name);
}

Result<SpoolReader> PartSpool::open(const std::string& file) const {
  const auto name = name_in(file);
  if (!name) return Error{"there is no file of such a name", ENOENT};
  auto opened = sys::open_to_read(path_of(*name));
  if (!opened) return opened.error();
  return SpoolReader(std::move(*opened));
}

void PartSpool::remove_result(const std::string& file) {
  const auto name = name_in(file);
  if (!name) return;
  remove(results_, *name);
  remove(unknown_, *name);
}

std::vector<PartSpool::Name> PartSpool::unknown() const {
  std::vector<Name> names;
  for (const auto& [name, file] : unknown_)
    names.push_back(name);
  return names;
}

void PartSpool::is_parts(const Name& name) {
  if (unknown_.count(name) != 0) (void)begun(name).size;
}

void PartSpool::is_result(const Name& name) {
  if (auto found = unknown_.extract(name)) results_.insert(std::move(found));
}

void PartSpool::is_nothing(const Name& name) {
  remove(unknown_, name);
}

}  // namespace mtd::broker
