#include "config/expand.h"

#include <algorithm>

#include "common/escape.h"
#include "common/spec_marker.h"

namespace mtd::config {
namespace {

constexpr bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
constexpr bool is_name(char c) {
  return is_name_start(c) || (c >= '0' && c <= '9');
}

std::string marker(char kind) {
  return {SpecMarker::kEscape, kind};
}

std::size_t name_length(std::string_view text) {
  const auto end = std::find_if_not(text.begin(), text.end(), is_name);
  return text.empty() || !is_name_start(text.front())
             ? 0
             : static_cast<std::size_t>(end - text.begin());
}

// What stands between ${ and }.
struct Reference {
  std::string_view name;
  std::optional<std::string_view> fallback;
};

Result<Reference> parse_reference(std::string_view inside) {
  const std::string shown = "${" + escape_for_terminal(inside.substr(0, 64)) + "}";
  const std::size_t length = name_length(inside);
  if (length == 0) return Error{shown + " names no variable; write ${NAME} or ${NAME:-default}"};
  const std::string_view rest = inside.substr(length);
  if (rest.empty()) return Reference{inside, std::nullopt};
  if (!rest.starts_with(":-")) {
    return Error{shown + " is not understood; write ${NAME} or ${NAME:-default}"};
  }
  if (rest.find("${") != std::string_view::npos) {
    return Error{shown + " holds another ${…}; a default is plain text"};
  }
  return Reference{inside.substr(0, length), rest.substr(2)};
}

Result<std::optional<Expansion>> own_variable(std::string_view name, std::string_view pool) {
  if (!name.starts_with("MTD_")) return std::optional<Expansion>();
  if (name == "MTD_POOL") return std::optional(Expansion{std::string(pool), false});
  if (name == "MTD_WORKER_ID") return std::optional(Expansion{marker(SpecMarker::kSlot), true});
  if (name == "MTD_WORKER") {
    return std::optional(Expansion{std::string(pool) + "/" + marker(SpecMarker::kSlot), true});
  }
  if (name == "MTD_INCARNATION") {
    return std::optional(Expansion{marker(SpecMarker::kIncarnation), false});
  }
  return Error{"${" + std::string(name.substr(0, 64)) +
               "} is unknown; of the variables of mtd itself there are MTD_POOL, MTD_WORKER, "
               "MTD_WORKER_ID and MTD_INCARNATION"};
}

Result<Expansion> value_of(const Reference& reference, std::string_view pool,
                           const Lookup& lookup) {
  auto own = own_variable(reference.name, pool);
  if (!own) return own.error();
  if (own->has_value()) return **own;
  auto found = lookup(reference.name);
  if (!found) return found.error();
  const bool usable = found->has_value() && !(reference.fallback && (*found)->text.empty());
  if (usable) return **found;
  if (reference.fallback) return Expansion{with_markers(*reference.fallback), false};
  const std::string name(reference.name.substr(0, 64));
  return Error{"${" + name + "} is not defined; define it in env, or write ${" + name +
               ":-default}"};
}

}  // namespace

std::string with_markers(std::string_view raw) {
  std::string text;
  for (const char c : raw) {
    text += c == SpecMarker::kEscape ? marker(SpecMarker::kLiteral) : std::string(1, c);
  }
  return text;
}

std::string for_worker(std::string_view marked, std::uint32_t slot, std::uint64_t incarnation) {
  std::string text;
  for (std::size_t i = 0; i < marked.size(); ++i) {
    const char kind = i + 1 < marked.size() ? marked[i + 1] : '\0';
    if (marked[i] != SpecMarker::kEscape ||
        (kind != SpecMarker::kSlot && kind != SpecMarker::kIncarnation)) {
      text += marked[i];
      continue;
    }
    text += kind == SpecMarker::kSlot ? std::to_string(slot) : std::to_string(incarnation);
    ++i;
  }
  return text;
}

std::string unmarked(std::string_view marked) {
  std::string text;
  for (std::size_t i = 0; i < marked.size(); ++i) {
    text += marked[i];
    if (marked[i] == SpecMarker::kEscape) ++i;
  }
  return text;
}

bool has_markers(std::string_view marked) {
  return marked.find(SpecMarker::kEscape) != std::string_view::npos;
}

Result<Expansion> expand(std::string_view text, std::string_view pool, const Lookup& lookup) {
  Expansion out;
  while (!text.empty()) {
    const std::size_t dollar = std::min(text.find('$'), text.size());
    out.text += with_markers(text.substr(0, dollar));
    text.remove_prefix(dollar);
    if (text.starts_with("$$")) {
      out.text += '$';
      text.remove_prefix(2);
    } else if (text.starts_with("${")) {
      const std::size_t end = text.find('}');
      if (end == std::string_view::npos)
        return Error{"${ is not closed; } is missing, or write $$ for a $"};
      const auto reference = parse_reference(text.substr(2, end - 2));
      if (!reference) return reference.error();
      const auto value = value_of(*reference, pool, lookup);
      if (!value) return value.error();
      out.text += value->text;
      out.per_slot = out.per_slot || value->per_slot;
      text.remove_prefix(end + 1);
    } else if (const std::size_t length =
                   name_length(text.substr(std::min<std::size_t>(1, text.size())));
               length != 0) {
      const std::string name(text.substr(1, std::min<std::size_t>(length, 64)));
      return Error{"$" + name + " is not expanded; write ${" + name + "}, or $$" + name +
                   " for a $"};
    } else if (!text.empty()) {
      out.text += '$';
      text.remove_prefix(1);
    }
    if (out.text.size() > kMaxExpanded) {
      return Error{"is longer than " + std::to_string(kMaxExpanded) + " bytes after expansion"};
    }
  }
  return out;
}

std::string readable(std::string_view marked) {
  std::string text;
  for (std::size_t i = 0; i < marked.size(); ++i) {
    if (marked[i] == '$') {
      text += "$$";
    } else if (marked[i] != SpecMarker::kEscape || i + 1 == marked.size()) {
      text += marked[i];
    } else {
      const char kind = marked[++i];
      text += kind == SpecMarker::kSlot          ? "${MTD_WORKER_ID}"
              : kind == SpecMarker::kIncarnation ? "${MTD_INCARNATION}"
                                                 : marker(SpecMarker::kLiteral).substr(0, 1);
    }
  }
  return text;
}

Result<std::string> from_readable(std::string_view text) {
  auto expanded = expand(text, "", [](std::string_view) -> Result<std::optional<Expansion>> {
    return std::optional<Expansion>();
  });
  if (!expanded) return expanded.error();
  return std::move(expanded->text);
}

}  // namespace mtd::config
