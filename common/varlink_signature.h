// The types of Varlink's interface language, as far as the method table uses them, and the check of
// a JSON value against them. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace mtd::varlink {

enum class BaseType { boolean, integer, floating, text, object };

struct ParameterType {
  BaseType base = BaseType::text;
  bool optional = false;  // ?T: may be absent or null
  bool array = false;     // []T
};

struct Parameter {
  std::string name;
  ParameterType type;
};

// "(select: ?[]string, wait: ?bool)". Named types ("Pool") count as objects. nullopt: not such a
// struct.
[[nodiscard]] std::optional<std::vector<Parameter>> parse_signature(std::string_view signature);

struct ParameterFault {
  std::string parameter;
  std::string message;  // for people: what it must be
};

// Removes null members of optional parameters. nullopt: `parameters`, an object, fits.
[[nodiscard]] std::optional<ParameterFault> check_parameters(
    const std::vector<Parameter>& signature, nlohmann::json& parameters);

}  // namespace mtd::varlink
