// The objects that control calls answer with, and the errors: one row a member. The interface
// description and mtd-control(7) come from these tables. A member whose type begins with "?" may be
// null or absent; new members may be added at any time.
#pragma once

#include <span>
#include <string_view>

namespace mtd::control {

struct Member {
  std::string_view name;
  std::string_view type;     // Varlink
  std::string_view meaning;  // a phrase, without a full stop
};

struct ObjectType {
  std::string_view name;
  std::string_view meaning;
  std::span<const Member> members;
};

struct ErrorType {
  std::string_view name;        // without the interface
  std::string_view parameters;  // Varlink struct
  std::string_view meaning;
};

[[nodiscard]] std::span<const ObjectType> object_types();
[[nodiscard]] std::span<const ErrorType> errors();          // of io.mtd.Manager
[[nodiscard]] std::span<const ErrorType> service_errors();  // of org.varlink.service

}  // namespace mtd::control
