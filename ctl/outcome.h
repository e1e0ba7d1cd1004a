// Outcome<T>: a value, or the reason why the command ends without it, with its exit code.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "common/exit_codes.h"

namespace mtd::ctl {

struct Failure {
  CtlExit code = CtlExit::failed;
  std::string message;  // for a person, safe for a terminal
};

template <class T>
class [[nodiscard]] Outcome {
 public:
  Outcome(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(*explicit*)
  Outcome(Failure failure)
      : state_(std::in_place_index<1>, std::move(failure)) {}  // NOLINT(*explicit*)

  [[nodiscard]] bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  T& operator*() & { return std::get<0>(state_); }
  const T& operator*() const& { return std::get<0>(state_); }
  T&& operator*() && { return std::get<0>(std::move(state_)); }
  T* operator->() { return &std::get<0>(state_); }
  const T* operator->() const { return &std::get<0>(state_); }
  [[nodiscard]] const Failure& failure() const { return std::get<1>(state_); }

 private:
  std::variant<T, Failure> state_;
};

// Of a full Varlink error name, "io.mtd.Manager.NoSuchPool". Unknown ones: failed.
[[nodiscard]] CtlExit exit_code_of_error(std::string_view error_name);

struct ExitCodeRow {
  CtlExit code;
  std::string_view meaning;  // as help and manual print it
};

inline constexpr ExitCodeRow kExitCodes[] = {
    {CtlExit::ok, "Done. A stream that is interrupted from the keyboard ends with 0 too."},
    {CtlExit::failed, "The operation failed."},
    {CtlExit::usage, "Wrong usage: unknown verb, option or argument."},
    {CtlExit::not_ready, "A pool that was asked for is not running or not ready."},
    {CtlExit::no_such, "No such pool, worker or task."},
    {CtlExit::unreachable, "No daemon answers, or tasks cannot be served now."},
    {CtlExit::timed_out, "The time given with --timeout passed before the answer came."},
    {CtlExit::permission_denied, "Permission denied."},
    {CtlExit::invalid_configuration, "The configuration is invalid."},
    {CtlExit::refused_for_now,
     "Refused for now, such as by a full queue; trying again later can succeed."},
    {CtlExit::task_timed_out, "The task of run took longer than it may."},
    {CtlExit::own_failure,
     "run itself failed; it exits as its task's command did, with 128+n if signal n killed it."},
};

}  // namespace mtd::ctl
