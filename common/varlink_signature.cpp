#include "common/varlink_signature.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include <nlohmann/json.hpp>

#include "common/escape.h"

namespace mtd::varlink {
namespace {

using nlohmann::json;

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \n") - first + 1);
}

bool take(std::string_view& text, std::string_view prefix) {
  if (text.substr(0, prefix.size()) != prefix) return false;
  text.remove_prefix(prefix.size());
  return true;
}

bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}

std::optional<ParameterType> parse_type(std::string_view text) {
  ParameterType type;
  type.optional = take(text, "?");
  type.array = take(text, "[]");
  if (text == "bool") {
    type.base = BaseType::boolean;
  } else if (text == "int") {
    type.base = BaseType::integer;
  } else if (text == "float") {
    type.base = BaseType::floating;
  } else if (text == "string") {
    type.base = BaseType::text;
  } else if (text == "object" || (!text.empty() && is_upper(text.front()))) {
    type.base = BaseType::object;
  } else {
    return std::nullopt;
  }
  return type;
}

bool fits_int64(const json& value) {
  return value.is_number_integer() &&
         (!value.is_number_unsigned() ||
          value.get<std::uint64_t>() <=
              static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
}

bool has_base_type(BaseType type, const json& value) {
  switch (type) {
    case BaseType::boolean:
      return value.is_boolean();
    case BaseType::integer:
      return fits_int64(value);
    case BaseType::floating:
      return value.is_number();
    case BaseType::text:
      return value.is_string();
    case BaseType::object:
      return value.is_object();
  }
  return false;
}

bool has_type(const ParameterType& type, const json& value) {
  if (!type.array) return has_base_type(type.base, value);
  return value.is_array() && std::all_of(value.begin(), value.end(), [&](const json& element) {
           return has_base_type(type.base, element);
         });
}

std::string describe(const ParameterType& type) {
  const std::string plural = type.array ? "s" : "";
  const std::string article = type.array ? "a list of " : "";
  switch (type.base) {
    case BaseType::boolean:
      return type.array ? "a list of true and false" : "true or false";
    case BaseType::integer:
      return (type.array ? "a list of " : "an ") + std::string("integer") + plural + " of 64 bits";
    case BaseType::floating:
      return (type.array ? article : "a ") + "number" + plural;
    case BaseType::text:
      return (type.array ? article : "a ") + "string" + plural;
    case BaseType::object:
      return (type.array ? article : "an ") + "object" + plural;
  }
  return {};
}

const Parameter* find(const std::vector<Parameter>& signature, const std::string& name) {
  const auto at = std::find_if(signature.begin(), signature.end(),
                               [&](const Parameter& p) { return p.name == name; });
  return at == signature.end() ? nullptr : &*at;
}

std::string list_names(const std::vector<Parameter>& signature) {
  if (signature.empty()) return "the method takes no parameters";
  std::string names = "known are";
  for (const Parameter& parameter : signature)
    names += " " + parameter.name;
  return names;
}

}  // namespace

std::optional<std::vector<Parameter>> parse_signature(std::string_view signature) {
  signature = trim(signature);
  if (signature.size() < 2 || signature.front() != '(' || signature.back() != ')') {
    return std::nullopt;
  }
  std::string_view rest = trim(signature.substr(1, signature.size() - 2));
  std::vector<Parameter> parameters;
  while (!rest.empty()) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    const std::string_view field = rest.substr(0, comma);
    const std::size_t colon = field.find(':');
    if (colon == std::string_view::npos) return std::nullopt;
    const std::string_view name = trim(field.substr(0, colon));
    const auto type = parse_type(trim(field.substr(colon + 1)));
    if (name.empty() || !type) return std::nullopt;
    parameters.push_back({std::string(name), *type});
    rest = trim(rest.substr(std::min(comma + 1, rest.size())));
  }
  return parameters;
}

std::optional<ParameterFault> check_parameters(const std::vector<Parameter>& signature,
                                               json& parameters) {
  for (auto member = parameters.begin(); member != parameters.end();) {
    const Parameter* parameter = find(signature, member.key());
    if (parameter == nullptr) {
      return ParameterFault{
          member.key(), "no such parameter: " + escape_for_terminal(member.key()).substr(0, 80) +
                            "; " + list_names(signature)};
    }
    if (member->is_null() && parameter->type.optional) {
      member = parameters.erase(member);
      continue;
    }
    if (!has_type(parameter->type, *member)) {
      return ParameterFault{parameter->name,
                            parameter->name + " must be " + describe(parameter->type)};
    }
    ++member;
  }
  for (const Parameter& parameter : signature) {
    if (!parameter.type.optional && !parameters.contains(parameter.name)) {
      return ParameterFault{parameter.name,
                            parameter.name + " is missing; it must be " + describe(parameter.type)};
    }
  }
  return std::nullopt;
}

}  // namespace mtd::varlink
