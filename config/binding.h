// Binds a row of the key table to a member of a spec: how to put a checked scalar in, and how to
// show it as JSON that the loader reads back unchanged.
#pragma once

#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include <nlohmann/json.hpp>

#include "config/keys.h"

namespace mtd::config {

template <class Spec>
struct Binding {
  void (*set)(Spec&, const Scalar&, const KeyInfo&);
  nlohmann::json (*get)(const Spec&, const KeyInfo&);
};

// A member of enum type is one of the words in their order; an empty word cannot be written and
// stands for the default. A number below the smallest that can be written is a default as well.
template <class T>
nlohmann::json shown(const T& value, [[maybe_unused]] const KeyInfo& info) {
  if constexpr (std::is_same_v<T, Duration>) {
    return format_duration(value);
  } else if constexpr (std::is_same_v<T, SignalNumber>) {
    return signal_name(value);
  } else if constexpr (std::is_same_v<T, std::optional<int>>) {
    return value ? nlohmann::json(*value) : nlohmann::json();
  } else if constexpr (std::is_enum_v<T>) {
    const std::string_view word = info.words.at(static_cast<std::size_t>(value));
    return word.empty() ? nlohmann::json() : nlohmann::json(word);
  } else if constexpr (std::is_same_v<T, std::string>) {
    return value.empty() ? nlohmann::json() : nlohmann::json(value);
  } else if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
    return static_cast<double>(value) < info.min ? nlohmann::json() : nlohmann::json(value);
  } else if constexpr (std::is_same_v<T, double>) {
    const auto whole = static_cast<std::int64_t>(value);  // all rows have bounds far below 2^63
    return static_cast<double>(whole) == value ? nlohmann::json(whole) : nlohmann::json(value);
  } else {
    return value;
  }
}

template <class T>
void put(T& member, const Scalar& scalar, [[maybe_unused]] const KeyInfo& info) {
  if constexpr (std::is_same_v<T, SignalNumber>) {
    member.value = static_cast<int>(std::get<std::int64_t>(scalar));
  } else if constexpr (std::is_same_v<T, std::optional<int>>) {
    member = static_cast<int>(std::get<std::int64_t>(scalar));
  } else if constexpr (std::is_enum_v<T> || (std::is_integral_v<T> && !std::is_same_v<T, bool>)) {
    member = static_cast<T>(std::get<std::int64_t>(scalar));
  } else if constexpr (std::is_same_v<T, std::string>) {
    const auto* word = std::get_if<std::int64_t>(&scalar);
    member = word != nullptr ? std::string(info.words.at(static_cast<std::size_t>(*word)))
                             : std::get<std::string>(scalar);
  } else {
    member = std::get<T>(scalar);
  }
}

// bind<PoolSpec, &PoolSpec::backoff, &Backoff::initial>()
template <class Spec, auto First, auto... Rest>
constexpr Binding<Spec> bind() {
  return {[](Spec& spec, const Scalar& scalar, const KeyInfo& info) {
            put(((spec.*First).*....*Rest), scalar, info);
          },
          [](const Spec& spec, const KeyInfo& info) {
            return shown(((spec.*First).*....*Rest), info);
          }};
}

}  // namespace mtd::config
