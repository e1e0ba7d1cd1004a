// What people and other tools ask of a configuration: shown with its origins, described, compared.
// All text is escaped for a terminal; all JSON is one document.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/result.h"
#include "config/loader.h"
#include "config/plan.h"

namespace mtd::config {

enum class Form { text, json };

// Every key with its value and where it comes from; `pool`: of this pool only. The configuration
// must be free of errors. Errors: there is no such pool. JSON: {"daemon": {"log.level": {"value":
// "info", "origin": null}}, "pools": {"web": {…}}}; origin is null for a default, else
// "file:line:column".
[[nodiscard]] Result<std::string> show(const LoadResult& loaded,
                                       std::optional<std::string_view> pool, Form form);

// JSON Schema, draft 2020-12, of mtd.json and of the files in pools.d.
[[nodiscard]] std::string schema();
// A small configuration with comments, to begin with: one pool that runs, and beside it the keys
// that most people need. Free of errors.
[[nodiscard]] std::string starter();

// "web: rolling: command, workers"; one line each, "nothing changes" when it is so.
[[nodiscard]] std::string describe_plan(const Plan& plan);
[[nodiscard]] std::string_view apply_name(Apply apply);

// The mdoc(7) lists of keys for mtd.json(5).
[[nodiscard]] std::string manual_of_keys();

}  // namespace mtd::config
