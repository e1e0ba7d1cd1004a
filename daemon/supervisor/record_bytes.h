// Bytes of a record's payload, written and read member by member by one and the same description.
// Reading stops at the end of what is there: later members keep their defaults. A value that its
// type does not have makes the whole record bad.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "common/time.h"

namespace mtd::supervisor {

[[nodiscard]] inline std::uint64_t checksum_of(std::string_view bytes) {
  // Eight bytes at a time; against damage, not against an enemy: only mtd can write here.
  std::uint64_t hash = 0x9e3779b97f4a7c15ULL ^ bytes.size();
  const auto mix = [&hash](std::uint64_t word) {
    hash = (hash ^ word) * 0xff51afd7ed558ccdULL;
    hash ^= hash >> 32U;
  };
  for (; bytes.size() >= sizeof(std::uint64_t); bytes.remove_prefix(sizeof(std::uint64_t))) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), sizeof(word));
    mix(word);
  }
  for (const char byte : bytes)
    mix(static_cast<unsigned char>(byte));
  return hash;
}

class RecordWriter {
 public:
  static constexpr bool kReads = false;
  RecordWriter(char* to, std::size_t room) : to_(to), room_(room) {}

  template <class T>
  void number(const T& value) {
    static_assert(std::is_integral_v<T>);
    put(&value, sizeof(value));
  }
  // An enumeration of `count` values.
  template <class T>
  void choice(const T& value, std::size_t) {
    number(static_cast<std::uint8_t>(value));
  }
  void flag(const bool& value) { number(static_cast<std::uint8_t>(value ? 1 : 0)); }
  void instant(const Instant& at) { number(at.count_ns()); }
  void text(const std::string& value, std::size_t most) {
    const auto size = static_cast<std::uint8_t>(std::min({value.size(), most, std::size_t{255}}));
    number(size);
    put(value.data(), size);
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  void spoil() {}
  [[nodiscard]] bool is_bad() const { return size_ > room_; }

 private:
  void put(const void* from, std::size_t size) {
    if (size_ + size <= room_) std::memcpy(to_ + size_, from, size);
    size_ += size;
  }
  char* to_;
  std::size_t room_, size_ = 0;
};

class RecordReader {
 public:
  static constexpr bool kReads = true;
  explicit RecordReader(std::string_view bytes) : bytes_(bytes) {}

  template <class T>
  void number(T& value) {
    static_assert(std::is_integral_v<T>);
    if (bytes_.size() < sizeof(value)) {
      bytes_ = {};
      return;
    }
    std::memcpy(&value, bytes_.data(), sizeof(value));
    bytes_.remove_prefix(sizeof(value));
  }
  template <class T>
  void choice(T& value, std::size_t count) {
    auto raw = static_cast<std::uint8_t>(value);
    number(raw);
    if (raw >= count) {
      bad_ = true;
      return;
    }
    value = static_cast<T>(raw);
  }
  void flag(bool& value) {
    std::uint8_t raw = value ? 1 : 0;
    number(raw);
    value = raw != 0;
  }
  void instant(Instant& at) {
    std::int64_t ns = at.count_ns();
    number(ns);
    if (ns < 0) {
      bad_ = true;
      return;
    }
    at = Instant::at_ns(ns);
  }
  void text(std::string& value, std::size_t most) {
    std::uint8_t size = 0;
    number(size);
    if (size > most || size > bytes_.size()) {
      bad_ = true;
      return;
    }
    value.assign(bytes_.substr(0, size));
    bytes_.remove_prefix(size);
  }
  void spoil() { bad_ = true; }
  [[nodiscard]] bool is_bad() const { return bad_; }
  [[nodiscard]] bool at_end() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
  bool bad_ = false;
};

}  // namespace mtd::supervisor
