// Result<T>: a value or an Error, with the member names of std::expected (which neither GCC 12 nor
// clang 14 ship). An Error is a sentence for a person plus, where the kernel refused something, the
// errno it answered with. Context is added once per layer with `with_context`.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace mtd {

struct Error {
  std::string message;  // a sentence that names what, where and what would be right
  int errno_value = 0;  // 0: not from a system call

  // The message of a failed system call: "open /etc/x: Permission denied".
  [[nodiscard]] static Error from_errno(std::string_view what, int errno_value);
  [[nodiscard]] Error with_context(std::string_view context) const;
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT(*explicit*)
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(*explicit*)

  [[nodiscard]] bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  [[nodiscard]] T& value() & { return std::get<0>(state_); }
  [[nodiscard]] const T& value() const& { return std::get<0>(state_); }
  [[nodiscard]] T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  [[nodiscard]] const Error& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)), failed_(true) {}  // NOLINT(*explicit*)

  [[nodiscard]] bool has_value() const { return !failed_; }
  explicit operator bool() const { return !failed_; }
  [[nodiscard]] const Error& error() const { return error_; }

 private:
  Error error_;
  bool failed_ = false;
};

}  // namespace mtd
