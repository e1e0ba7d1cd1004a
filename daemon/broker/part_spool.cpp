#include "daemon/broker/part_spool.h"

#include <charconv>
#include <cstring>
#include <optional>

#include "daemon/sys/spool_file.h"

namespace mtd::broker {
namespace {

constexpr std::uint32_t kMagic = 0x5044544d;
// The largest body that can be configured, and parts that came twice.
constexpr std::size_t kMaxFile = 192U << 20U;

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

std::optional<std::pair<std::uint64_t, std::uint32_t>> key_of(std::string_view name) {
  std::pair<std::uint64_t, std::uint32_t> key;
  if (!take_number(name, key.first) || name.empty() || name.front() != '.') return std::nullopt;
  name.remove_prefix(1);
  if (!take_number(name, key.second) || !name.empty()) return std::nullopt;
  return key;
}

}  // namespace

PartSpool::PartSpool(std::string directory) : directory_(std::move(directory)) {
  if (directory_.empty()) return;
  for (const std::string& name : sys::file_names(directory_)) {
    if (const auto key = key_of(name)) kept_.insert(*key);
  }
}

std::string PartSpool::path_of(const Key& key) const {
  return directory_ + "/" + std::to_string(key.first) + "." + std::to_string(key.second);
}

Result<void> PartSpool::add(task::TaskId id, std::uint32_t attempt, std::uint32_t part,
                            std::string_view bytes) {
  if (directory_.empty()) return {};
  const Key key{id.value, attempt};
  if (kept_.insert(key).second) {
    if (const auto made = sys::make_private_directory(directory_); !made) return made;
  }
  RecordHead head;
  head.part = part;
  head.size = bytes.size();
  std::string record(sizeof head, '\0');
  std::memcpy(record.data(), &head, sizeof head);
  record += bytes;
  return sys::append_file(path_of(key), record);
}

std::vector<std::string> PartSpool::parts(task::TaskId id, std::uint32_t attempt) const {
  std::vector<std::string> parts;
  const Key key{id.value, attempt};
  if (kept_.count(key) == 0) return parts;
  const auto file = sys::read_file(path_of(key), kMaxFile);
  if (!file) return parts;
  std::string_view rest = *file;
  RecordHead head;
  while (rest.size() >= sizeof head) {
    std::memcpy(static_cast<void*>(&head), rest.data(), sizeof head);
    rest.remove_prefix(sizeof head);
    // The last one may be cut off: its frame is still in the socket.
    if (head.magic != kMagic || head.size > rest.size() || head.part > parts.size()) break;
    if (head.part == parts.size()) parts.emplace_back();
    parts[head.part] = rest.substr(0, head.size);
    rest.remove_prefix(head.size);
  }
  return parts;
}

void PartSpool::remove(task::TaskId id, std::uint32_t attempt) {
  const auto found = kept_.find({id.value, attempt});
  if (found == kept_.end()) return;
  sys::remove_file(path_of(*found));
  kept_.erase(found);
}

void PartSpool::remove_unless(const Wanted& wanted) {
  const std::set<Key> kept = kept_;
  for (const auto& [id, attempt] : kept) {
    if (!wanted({id}, attempt)) remove({id}, attempt);
  }
}

}  // namespace mtd::broker
